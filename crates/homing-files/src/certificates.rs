//! Certificates in files that settings name, and the verification by them.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};

use homing_domain::{report::Chain, settings::SettingsError};

/// Reads the certificates in `file`, which `key` names. Blocks: see [`read`](crate::read).
///
/// # Errors
///
/// [`SettingsError::Value`]: it cannot be read, or there is none in it.
pub fn in_file(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let shown = file.display();
    let refused = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("cannot read certificates from {shown}: {}", Chain(error));
        SettingsError::value(key, message)
    };
    let pem = crate::read(file).map_err(|error| refused(&error))?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| refused(&error))?;
    if certificates.is_empty() {
        let message = format!("no certificate in {shown}; it takes PEM");
        return Err(SettingsError::value(key, message));
    }
    Ok(certificates)
}

/// Reads the private key in `file`, which `key` names. Blocks: see [`read`](crate::read).
///
/// # Errors
///
/// [`SettingsError::Value`]: it cannot be read, or there is none in it.
pub fn private_key(key: &str, file: &Path) -> Result<PrivateKeyDer<'static>, SettingsError> {
    let refused = |error: &(dyn std::error::Error + 'static)| {
        let (file, error) = (file.display(), Chain(error));
        SettingsError::value(key, format!("cannot read a private key from {file}: {error}"))
    };
    let pem = crate::read(file).map_err(|error| refused(&error))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| refused(&error))
}

/// A verifier that trusts the authorities in `roots`, and the certificates in `file`, which `key`
/// names; empty: none.
///
/// # Errors
///
/// [`SettingsError::Value`]: a certificate in the file is not usable.
pub fn verifier(
    mut roots: RootCertStore,
    key: &str,
    file: &Path,
) -> Result<Arc<dyn ServerCertVerifier>, SettingsError> {
    let own = if file.as_os_str().is_empty() { Vec::new() } else { in_file(key, file)? };
    for certificate in &own {
        roots.add(certificate.clone()).map_err(|error| {
            let (file, why) = (file.display(), unusable(&error));
            SettingsError::value(key, format!("a certificate in {file} is not usable: {why}"))
        })?;
    }
    // Names ring explicitly: rustls would otherwise take the process's default, which the first
    // caller sets.
    let provider = Arc::new(ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let authorities = authorities.build().map_err(|error| SettingsError::value(key, error))?;
    Ok(Arc::new(Verifier { authorities, own }))
}

fn unusable(error: &rustls::Error) -> String {
    if matches!(error, rustls::Error::InvalidCertificate(CertificateError::BadEncoding)) {
        return "it cannot be decoded".to_owned();
    }
    error.to_string()
}

/// Verifies by authorities. A certificate that is itself in the file is also accepted from a
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
            // Its dates were checked before this.
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
