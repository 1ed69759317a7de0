//! TLS to endpoints, and the authorities that homing trusts.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::settings::EndpointSettings;
use homing_domain::settings::SettingsError;
use homing_files::certificates;

/// Errors of setting up the HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum EndpointSetupError {
    /// A setting makes no sense.
    #[error("the settings of [endpoint] do not fit")]
    Settings(#[source] SettingsError),
    /// The file of certificate authorities cannot be used.
    #[error(transparent)]
    CaFile(SettingsError),
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
