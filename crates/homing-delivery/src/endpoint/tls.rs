//! TLS to endpoints, and the authorities that homing trusts.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::settings::EndpointSettings;
use homing_domain::{
    settings::SettingsError,
    subscription::{ClientCertificatePem, FieldError},
};
use homing_files::certificates;

/// A certificate with its key, as TLS presents it.
pub(super) type Identity = Arc<CertifiedKey>;

/// Errors of setting up the HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSetupError {
    /// A setting makes no sense.
    #[error("the settings of [endpoint] do not fit")]
    Settings(#[source] SettingsError),
    /// The file of certificate authorities cannot be used.
    #[error(transparent)]
    CaFile(SettingsError),
    /// The files of the client certificate cannot be used.
    #[error(transparent)]
    ClientCertificate(SettingsError),
    /// The file with the login of the proxy cannot be used.
    #[error(transparent)]
    ProxyLogin(SettingsError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// The TLS configuration of all HTTP clients of homing: trusts Mozilla's authorities and the
/// certificates of `endpoint.ca_file`, and offers `protocols` (ALPN).
///
/// Names ring explicitly: rustls would otherwise take the process's default, which depends on what
/// sets it first (lapin does).
///
/// # Errors
///
/// [`EndpointSetupError`].
pub fn tls(
    settings: &EndpointSettings,
    protocols: &[&[u8]],
) -> Result<ClientConfig, EndpointSetupError> {
    let ca_file = Path::new(&settings.ca_file);
    let verifier = certificates::verifier(public_authorities(), "endpoint.ca_file", ca_file)
        .map_err(EndpointSetupError::CaFile)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(EndpointSetupError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Presents `identity` to servers that ask for one. Sessions of before, which know another one, are
/// not resumed.
pub(super) fn presenting(config: &mut ClientConfig, identity: Identity) {
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    config.resumption = Resumption::default();
}

/// The certificate of a subscription, as TLS presents it.
///
/// # Errors
///
/// [`FieldError`]: the key cannot be used, or belongs to another certificate. It never repeats the
/// key.
pub(super) fn identity(pem: &ClientCertificatePem) -> Result<Identity, FieldError> {
    let wrong = |field, message| FieldError::new(format!("client_certificate.{field}"), message);
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect();
    let chain = chain.map_err(|_| wrong("certificate", "is not PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes());
    let key = key.map_err(|_| wrong("key", "is not a private key in PEM"))?;
    let identity = certified(chain, key).map_err(|message| wrong("key", message))?;
    Ok(Arc::new(identity))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, &'static str> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
            "is not that of the first certificate"
        } else {
            "cannot be used: it takes RSA (2,048 to 8,192 bits), ECDSA (P-256, P-384) and Ed25519"
        }
    })
}

/// The certificate of the settings, for all subscriptions without their own; `None`: there is none.
///
/// # Errors
///
/// [`EndpointSetupError::ClientCertificate`]; it names the setting at fault.
pub(super) fn common_identity(
    settings: &EndpointSettings,
) -> Result<Option<Identity>, EndpointSetupError> {
    const CERTIFICATE: &str = "endpoint.client_certificate_file";
    const KEY: &str = "endpoint.client_key_file";
    let files = (settings.client_certificate_file.as_str(), settings.client_key_file.as_str());
    let read = match files {
        ("", "") => return Ok(None),
        ("", _) => Err(SettingsError::value(CERTIFICATE, format!("`{KEY}` needs it"))),
        (_, "") => Err(SettingsError::value(KEY, format!("`{CERTIFICATE}` needs it"))),
        (certificate, key) => certificates::in_file(CERTIFICATE, Path::new(certificate))
            .and_then(|chain| Ok((chain, certificates::private_key(KEY, Path::new(key))?)))
            .and_then(|(chain, private_key)| {
                let message = |why| SettingsError::value(KEY, format!("the key in {key} {why}"));
                certified(chain, private_key).map_err(message)
            }),
    };
    read.map(|identity| Some(Arc::new(identity))).map_err(EndpointSetupError::ClientCertificate)
}

/// Mozilla's authorities.
fn public_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::endpoint::tests::samples::settings;
    use homing_domain::report::Chain;

    fn refusal(ca_file: &str) -> String {
        let mut settings = settings();
        settings.ca_file = ca_file.to_owned();
        let error = tls(&settings, &[]).unwrap_err();
        Chain(&error).to_string().replace(ca_file, "<file>")
    }

    #[test]
    fn the_public_authorities_are_trusted() {
        assert!(public_authorities().len() > 50);
    }

    #[test]
    fn a_bad_file_of_authorities_is_named() {
        insta::assert_snapshot!(refusal("/nowhere/ca.pem"), @"`endpoint.ca_file`: cannot read certificates from <file>: No such file or directory (os error 2)");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: no certificate in <file>; it takes PEM");
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        insta::assert_snapshot!(refusal(file.path().to_str().unwrap()), @"`endpoint.ca_file`: a certificate in <file> is not usable: it cannot be decoded");
    }
}
