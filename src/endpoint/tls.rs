//! TLS to endpoints: whom homing trusts, and what went wrong, in words.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};

use super::words;

use crate::config::{EndpointSettings, SettingsError};

/// Why endpoints cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSetupError {
    /// A setting makes no sense.
    #[error("the settings of [endpoint] do not fit")]
    Settings(#[source] SettingsError),
    /// The file of certificate authorities cannot be read.
    #[error("`endpoint.ca_file`: cannot read certificates from {}", path.display())]
    CaFile {
        /// The file named.
        path: PathBuf,
        /// What stood in the way.
        #[source]
        source: pem::Error,
    },
    /// The file of certificate authorities holds none.
    #[error("`endpoint.ca_file`: no certificate in {}; it takes PEM", path.display())]
    NoCertificate {
        /// The file named.
        path: PathBuf,
    },
    /// A certificate in the file is not one of an authority.
    #[error("`endpoint.ca_file`: a certificate in {} is not usable: {why}", path.display())]
    Certificate {
        /// The file named.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// TLS as every HTTP client of homing speaks it: trusting Mozilla's authorities and the certificates
/// of `endpoint.ca_file`, and offering `protocols` (ALPN).
///
/// Names ring itself: rustls would otherwise take the process's default, which whoever comes first
/// sets (lapin does).
///
/// # Errors
///
/// [`EndpointSetupError`].
pub fn tls(
    settings: &EndpointSettings,
    protocols: &[&[u8]],
) -> Result<ClientConfig, EndpointSetupError> {
    let provider = Arc::new(ring::default_provider());
    let own = own_certificates(&settings.ca_file)?;
    let roots = Arc::new(roots(&settings.ca_file, &own)?);
    let authorities =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
    let authorities = authorities
        .map_err(|error| EndpointSetupError::Tls(rustls::Error::General(error.to_string())))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(EndpointSetupError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, own }))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// The certificates of `endpoint.ca_file`.
fn own_certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, EndpointSetupError> {
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let path = || PathBuf::from(file);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|source| EndpointSetupError::CaFile { path: path(), source })?;
    if certificates.is_empty() {
        return Err(EndpointSetupError::NoCertificate { path: path() });
    }
    Ok(certificates)
}

/// Mozilla's authorities and those of `endpoint.ca_file`.
fn roots(file: &str, own: &[CertificateDer<'_>]) -> Result<RootCertStore, EndpointSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    for certificate in own {
        roots.add(certificate.clone().into_owned()).map_err(|error| {
            let (path, why) = (PathBuf::from(file), words::tls(&error));
            EndpointSetupError::Certificate { path, why }
        })?;
    }
    Ok(roots)
}

/// Verifies by authorities. A certificate that `endpoint.ca_file` has itself is also taken from a
/// server: what `openssl req -x509` makes is marked as an authority's and signs itself, and by the
/// rules for chains that is no server's.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.authorities.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // Its dates were looked at before this.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.own.iter().any(|own| own == certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{endpoint::tests::samples::settings, report::Chain};

    fn refusal(ca_file: &str) -> String {
        let mut settings = settings();
        settings.ca_file = ca_file.to_owned();
        let error = tls(&settings, &[]).unwrap_err();
        Chain(&error).to_string().replace(ca_file, "<file>")
    }

    #[test]
    fn the_public_authorities_are_trusted() {
        assert!(roots("", &[]).unwrap().len() > 50);
    }

    #[test]
    fn a_bad_file_of_authorities_is_named() {
        insta::assert_snapshot!(refusal("/nowhere/ca.pem"), @"`endpoint.ca_file`: cannot read certificates from <file>: I/O error: No such file or directory (os error 2)");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: no certificate in <file>; it takes PEM");
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: a certificate in <file> is not usable: its certificate is not accepted: bad encoding");
    }
}
