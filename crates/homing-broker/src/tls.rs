//! TLS to the broker: the trusted authorities, and the client certificate.
//!
//! Certificates and keys are read again for every connection, so that renewed ones are used without
//! a restart.

use std::{error::Error, io, path::Path, sync::Arc};

use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, crypto::ring};

use crate::settings::{BrokerSettings, BrokerUrl};
use homing_domain::settings::SettingsError;
use homing_files::certificates;

/// The files that TLS needs; empty where there is none. Those of a URL win over the settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    ca: String,
    certificate: String,
    key: String,
}

impl Files {
    pub(super) fn new(settings: &BrokerSettings) -> Self {
        Self {
            ca: settings.ca_file.clone(),
            certificate: settings.client_certificate_file.clone(),
            key: settings.client_key_file.clone(),
        }
    }

    /// The configuration for one connection to `url`. Reads files: not for a thread that serves
    /// others.
    ///
    /// Names ring explicitly: rustls would otherwise take the process's default, which the first
    /// caller sets.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a file that cannot be read or does not hold what it should.
    pub(super) fn configuration(&self, url: &BrokerUrl) -> Result<ClientConfig, SettingsError> {
        let given = &url.parameters;
        let (key, file) = match &given.ca_file {
            Some(file) => ("cacertfile", file.as_path()),
            None => ("broker.ca_file", Path::new(&self.ca)),
        };
        let is_named = !file.as_os_str().is_empty();
        let roots = if is_named { RootCertStore::empty() } else { public_authorities() };
        let trusting = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsError::value("broker.url", error))?
            .dangerous()
            .with_custom_certificate_verifier(certificates::verifier(roots, key, file)?);
        let (key, certificate, private_key) = match (&given.certificate_file, &given.key_file) {
            (Some(certificate), Some(key)) => ("certfile", certificate.as_path(), key.as_path()),
            _ if self.certificate.is_empty() => return Ok(trusting.with_no_client_auth()),
            _ => {
                let (certificate, key) = (Path::new(&self.certificate), Path::new(&self.key));
                ("broker.client_certificate_file", certificate, key)
            }
        };
        let chain = certificates::in_file(key, certificate)?;
        let private = certificates::private_key(key, private_key)?;
        trusting.with_client_auth_cert(chain, private).map_err(|error| {
            let file = private_key.display();
            SettingsError::value(key, format!("the key in {file} does not fit: {error}"))
        })
    }
}

/// The authorities of the system and Mozilla's: an image without the one has the other.
fn public_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted; a broker that needs it is reported as one of an unknown
    // authority.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// Advice on a failure of TLS, if `error` is one.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add further ones")]
pub(super) fn advice(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref()?;
    let tls = inner.downcast_ref::<rustls::Error>().or_else(|| nested(inner))?;
    Some(match tls {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is of no authority that is trusted; name that authority in \
             `broker.ca_file`"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "its certificate is for another name; use that name in the URL, or give it as \
             `server_name_indication`"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired",
        // Such as an authority's.
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
            "its certificate is none of a server; name that very certificate in `broker.ca_file`, \
             if it signs itself"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate cannot be trusted",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => {
            "it requires a client certificate; set `broker.client_certificate_file` and \
             `broker.client_key_file`"
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate,
        ) => "it does not accept the certificate in `broker.client_certificate_file`",
        rustls::Error::InvalidMessage(_) => {
            "no TLS is spoken at this port; amqps:// and amqp:// have different ports (5671 and 5672)"
        }
        _ => "TLS failed",
    })
}

/// The error of TLS inside another error of reading or writing.
fn nested<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}
