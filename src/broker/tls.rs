//! TLS as it is spoken to the broker: whom homing trusts there, and how it proves who it is.
//!
//! Certificates and keys are read again for every connection, so that those that are renewed on disk
//! are taken up without a restart.

use std::{error::Error, io, path::Path, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    config::{BrokerSettings, BrokerUrl, SettingsError},
    report::Chain,
};

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

    /// The configuration for one connection to `url`. Reads files: not for a thread that serves others.
    ///
    /// Names ring itself: rustls would otherwise take the process's default, which is that of whoever
    /// comes first.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`]: a file that cannot be read or does not hold what it should.
    pub(super) fn configuration(&self, url: &BrokerUrl) -> Result<ClientConfig, SettingsError> {
        let given = &url.parameters;
        let roots = match &given.ca_file {
            Some(file) => authorities("cacertfile", file)?,
            None if self.ca.is_empty() => public_authorities(),
            None => authorities("broker.ca_file", Path::new(&self.ca))?,
        };
        let trusting = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsError::value("broker.url", error))?
            .with_root_certificates(roots);
        let (key, certificate, private_key) = match (&given.certificate_file, &given.key_file) {
            (Some(certificate), Some(key)) => ("certfile", certificate.as_path(), key.as_path()),
            _ if self.certificate.is_empty() => return Ok(trusting.with_no_client_auth()),
            _ => {
                let (certificate, key) = (Path::new(&self.certificate), Path::new(&self.key));
                ("broker.client_certificate_file", certificate, key)
            }
        };
        let chain = certificates(key, certificate)?;
        let private = PrivateKeyDer::from_pem_file(private_key).map_err(|error| {
            let file = private_key.display();
            SettingsError::value(key, format!("cannot read a private key from {file}: {error}"))
        })?;
        trusting.with_client_auth_cert(chain, private).map_err(|error| {
            let file = private_key.display();
            SettingsError::value(key, format!("the key in {file} does not fit: {error}"))
        })
    }
}

/// Those of the system and Mozilla's: an image without the one has the other.
fn public_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted; a broker that needs it is told to be of an unknown authority.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// Those in `file`, and no others.
fn authorities(key: &str, file: &Path) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(key, file)? {
        roots.add(certificate).map_err(|error| {
            let file = file.display();
            SettingsError::value(key, format!("a certificate in {file} is not usable: {error}"))
        })?;
    }
    Ok(roots)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let shown = file.display();
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| {
            let message = format!("cannot read certificates from {shown}: {}", Chain(&error));
            SettingsError::value(key, message)
        })?;
    if certificates.is_empty() {
        let message = format!("no certificate in {shown}; it takes PEM");
        return Err(SettingsError::value(key, message));
    }
    Ok(certificates)
}

/// What to do about a failure of TLS, if `error` is one.
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
        rustls::Error::InvalidCertificate(_) => "its certificate cannot be trusted",
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        ) => {
            "it asks for a client certificate; set `broker.client_certificate_file` and \
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
