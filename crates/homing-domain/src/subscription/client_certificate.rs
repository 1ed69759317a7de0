//! The certificate with which homing identifies itself to an endpoint in the TLS handshake.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::{parse_x509_certificate, pem::Pem};

use super::{FieldError, secretive};
use crate::{payload::MASK, time::UnixMillis};

const MAX_CERTIFICATE_BYTES: usize = 64 * 1_024;
const MAX_KEY_BYTES: usize = 16 * 1_024;
const MAX_CERTIFICATES: usize = 10;
const MAX_SUBJECT_CHARS: usize = 200;
/// PKCS #8, PKCS #1 and SEC 1.
const KEY_LABELS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// A certificate and its private key as texts; shown by `Debug` without the key.
#[derive(Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ClientCertificateDraft)]
pub struct ClientCertificatePem {
    /// The certificate in PEM, with those that lead to an authority behind it.
    #[schema(max_length = 65_536)]
    pub certificate: String,
    /// Its private key in PEM, without a passphrase.
    #[schema(max_length = 16_384)]
    pub key: String,
}

/// A client certificate that can be read. Equal are those of the same texts.
#[derive(Clone)]
pub struct ClientCertificate {
    pem: ClientCertificatePem,
    id: CertificateId,
    subject: String,
    begins: UnixMillis,
    expires: UnixMillis,
}

/// Identifies a certificate with its key: a hash of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId([u8; 32]);

impl<'de> Deserialize<'de> for ClientCertificatePem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Given {
            #[serde(deserialize_with = "secretive::text")]
            certificate: String,
            #[serde(deserialize_with = "secretive::text")]
            key: String,
        }
        let Given { certificate, key } =
            secretive::object(deserializer, "an object with `certificate` and `key`, both in PEM")?;
        Ok(Self { certificate, key })
    }
}

/// The time for which all certificates of a chain are valid.
#[derive(Clone, Copy)]
struct Validity {
    begins: UnixMillis,
    expires: UnixMillis,
}

impl ClientCertificate {
    /// Reads the certificates, and the form of the key.
    ///
    /// # Errors
    ///
    /// [`FieldError`]; it names the field below `client_certificate`, and never repeats the key.
    pub fn new(pem: ClientCertificatePem) -> Result<Self, FieldError> {
        check_key(&pem.key).map_err(|message| wrong("key", message))?;
        let (subject, Validity { begins, expires }) =
            read(&pem.certificate).map_err(|message| wrong("certificate", message))?;
        let hashed = Sha256::new().chain_update(&pem.certificate).chain_update(b"\0");
        let id = CertificateId(hashed.chain_update(&pem.key).finalize().into());
        Ok(Self { pem, id, subject, begins, expires })
    }

    /// The texts; the key is a secret.
    #[must_use]
    pub fn reveal(&self) -> &ClientCertificatePem {
        &self.pem
    }

    /// The same for the same texts.
    #[must_use]
    pub fn id(&self) -> CertificateId {
        self.id
    }

    /// The one that it is for, such as `CN=homing`; bounded, without control characters.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The end of its validity, or of that of one behind it.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    ///
    /// [`FieldError`]: it has expired, or is valid later only.
    pub fn check_validity(&self, now: UnixMillis) -> Result<(), FieldError> {
        let Self { begins, expires, .. } = self;
        if *expires <= now {
            return Err(wrong("certificate", format!("it expired at {expires}; give a newer one")));
        }
        if *begins > now {
            let message = format!("it is valid from {begins} on; give it then");
            return Err(wrong("certificate", message));
        }
        Ok(())
    }
}

/// The end of the validity of a certificate in DER; `None`: it cannot be read.
#[must_use]
pub fn certificate_expiry(der: &[u8]) -> Option<UnixMillis> {
    parsed(der).map(|(_, validity)| validity.expires)
}

/// The subject of a certificate in DER, and its validity.
fn parsed(der: &[u8]) -> Option<(String, Validity)> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    let millis = |seconds: i64| UnixMillis::new(seconds.saturating_mul(1_000));
    let begins = millis(validity.not_before.timestamp());
    let expires = millis(validity.not_after.timestamp());
    Some((shown(&certificate.subject().to_string()), Validity { begins, expires }))
}

fn wrong(field: &str, message: impl fmt::Display) -> FieldError {
    FieldError::new(format!("client_certificate.{field}"), message)
}

/// The subject of the first certificate, and the time for which all of them are valid.
fn read(text: &str) -> Result<(String, Validity), String> {
    if text.len() > MAX_CERTIFICATE_BYTES {
        return Err(format!("has more than {MAX_CERTIFICATE_BYTES} bytes"));
    }
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        let block = block.map_err(|_| "is not PEM".to_owned())?;
        if block.label != "CERTIFICATE" {
            return Err(format!("has a `{}`; it takes certificates only", shown(&block.label)));
        }
        let unreadable = || "has a certificate that cannot be read".to_owned();
        found.push(parsed(&block.contents).ok_or_else(unreadable)?);
    }
    if found.len() > MAX_CERTIFICATES {
        return Err(format!("has more than {MAX_CERTIFICATES} certificates"));
    }
    let joint = |(subject, one): (String, Validity), (_, other): (String, Validity)| {
        let begins = one.begins.max(other.begins);
        (subject, Validity { begins, expires: one.expires.min(other.expires) })
    };
    let all = found.into_iter().reduce(joint);
    all.ok_or_else(|| "has no certificate: it takes PEM, `-----BEGIN CERTIFICATE-----`".to_owned())
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT_CHARS).collect()
}

/// Checks the form alone; the key itself is read where it is used.
fn check_key(text: &str) -> Result<(), String> {
    if text.len() > MAX_KEY_BYTES {
        return Err(format!("has more than {MAX_KEY_BYTES} bytes"));
    }
    if text.contains("ENCRYPTED") {
        return Err("needs a passphrase; give the key without one (`openssl pkey`)".to_owned());
    }
    let mut labels = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        labels.push(block.map_err(|_| "is not PEM".to_owned())?.label);
    }
    // `openssl ecparam -genkey` writes the name of the curve before the key.
    labels.retain(|label| label != "EC PARAMETERS");
    match labels.as_slice() {
        [label] if KEY_LABELS.contains(&label.as_str()) => Ok(()),
        [] => Err("has no key: it takes PEM, `-----BEGIN PRIVATE KEY-----`".to_owned()),
        _ => Err("has to be one private key in PEM, and nothing else".to_owned()),
    }
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for ClientCertificate {}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, expires, .. } = self;
        f.debug_struct("ClientCertificate")
            .field("subject", subject)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificatePem")
            .field("certificate", &self.certificate)
            .field("key", &MASK)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the key below, for `O=Acme, CN=homing`, until 2030.
    const CERTIFICATE: &str = include_str!("client_certificate_sample.pem");
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

    fn read(certificate: &str, key: &str) -> Result<ClientCertificate, String> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let read = ClientCertificate::new(ClientCertificatePem { certificate, key });
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_shows_its_subject_and_its_expiry_and_never_its_key() {
        let chain = format!("{CERTIFICATE}{CERTIFICATE}");
        let one = read(CERTIFICATE, KEY).unwrap();
        assert_eq!(
            (one.subject(), one.expires().to_string()),
            ("O=Acme, CN=homing", "2030-01-01T00:00:00.000Z".to_owned())
        );
        let printed = format!("{one:?} {:?}", one.reveal());
        assert!(!printed.contains("MC4CAQ"), "{printed}");
        assert_eq!(one, read(CERTIFICATE, KEY).unwrap());
        assert_ne!(one, read(&chain, KEY).unwrap());
        let before = one.check_validity(UnixMillis::new(0)).unwrap_err();
        insta::assert_snapshot!(before, @"`client_certificate.certificate`: it is valid from 2020-01-01T00:00:00.000Z on; give it then");
        assert_eq!(one.check_validity(UnixMillis::new(1_600_000_000_000)), Ok(()));
        let error = one.check_validity(one.expires()).unwrap_err();
        insta::assert_snapshot!(error, @"`client_certificate.certificate`: it expired at 2030-01-01T00:00:00.000Z; give a newer one");
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        for given in
            [serde_json::json!(KEY), serde_json::json!({"certificate": KEY, "key": 731_773})]
        {
            let read = serde_json::from_value::<ClientCertificatePem>(given);
            let error = read.unwrap_err().to_string();
            assert!(error.contains("expected ") && !error.contains("MC4CAQ"), "{error}");
            assert!(!error.contains("731773"), "{error}");
        }
    }

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused_by_field() {
        let cases = [
            ("", KEY),
            ("nothing", KEY),
            (KEY, KEY),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KEY),
            (CERTIFICATE, ""),
            (CERTIFICATE, CERTIFICATE),
            (
                CERTIFICATE,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            ),
        ];
        let refused: Vec<_> =
            cases.iter().map(|(certificate, key)| read(certificate, key).unwrap_err()).collect();
        insta::assert_snapshot!(refused.join("\n"), @"
        `client_certificate.certificate`: has no certificate: it takes PEM, `-----BEGIN CERTIFICATE-----`
        `client_certificate.certificate`: has no certificate: it takes PEM, `-----BEGIN CERTIFICATE-----`
        `client_certificate.certificate`: has a `PRIVATE KEY`; it takes certificates only
        `client_certificate.certificate`: has a certificate that cannot be read
        `client_certificate.key`: has no key: it takes PEM, `-----BEGIN PRIVATE KEY-----`
        `client_certificate.key`: has to be one private key in PEM, and nothing else
        `client_certificate.key`: needs a passphrase; give the key without one (`openssl pkey`)
        ");
    }
}
