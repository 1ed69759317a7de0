//! Describes errors of the layers below for operators: without type names, and without repetition.

use std::{error::Error, fmt::Debug, io};

use hyper::StatusCode;
use rustls::{AlertDescription, CertificateError};
use tokio::time::error::Elapsed;

use super::{classify::causes, proxy::ProxyError, resolve::ResolveError};

/// Describes `error` and its causes, outermost first.
pub(super) fn describe(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for text in causes(error).filter_map(say) {
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.retain(|earlier| !text.contains(earlier.as_str()));
            said.push(text);
        }
    }
    said.join(": ")
}

/// Describes `error` itself; `None` if only its cause has information.
fn say(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its text is that of the error it wraps.
        return error.get_ref().is_none().then(|| error.to_string());
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls(error));
    }
    if error.is::<Elapsed>() {
        return Some("not within the deadline".to_owned());
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return http(error);
    }
    let says_all =
        error.is::<h2::Error>() || error.is::<ResolveError>() || error.is::<ProxyError>();
    if says_all || error.source().is_none() {
        return Some(error.to_string());
    }
    // The client's layers: "tcp connect error", "dns error", "no connection".
    None
}

fn http(error: &hyper::Error) -> Option<String> {
    let said = if error.is_parse() {
        format!("the answer is not HTTP ({error})")
    } else if error.is_incomplete_message() {
        "the connection ended before the answer was complete".to_owned()
    } else if error.is_timeout() {
        "the connection no longer answers".to_owned()
    } else if error.source().is_none() {
        error.to_string()
    } else {
        return None;
    };
    Some(said)
}

/// Describes a TLS error.
pub(super) fn tls(error: &rustls::Error) -> String {
    use rustls::Error;
    if let Error::InvalidCertificate(why) = error {
        return format!("its certificate {}", certificate(why));
    }
    if let Error::AlertReceived(alert) = error {
        return format!("the endpoint ends the TLS handshake: {}", alerted(*alert));
    }
    if let Error::PeerIncompatible(why) = error {
        return format!("it does not speak TLS as homing does: {}", spaced(why));
    }
    if let Error::PeerMisbehaved(why) = error {
        return format!("it breaks the rules of TLS: {}", spaced(why));
    }
    if matches!(error, Error::InvalidMessage(_)) {
        return "what it answers is not TLS".to_owned();
    }
    error.to_string()
}

fn certificate(why: &CertificateError) -> String {
    use CertificateError as Why;
    if let Why::NotValidForNameContext { presented, .. } = why
        && !presented.is_empty()
    {
        // `DnsName("example.com")`
        let inside = |name: &String| {
            let start = name.split_once('(').map_or(name.as_str(), |(_kind, inside)| inside);
            start.trim_end_matches(')').trim_matches('"').to_owned()
        };
        let names: Vec<_> = presented.iter().map(inside).collect();
        return format!("is for another name ({})", names.join(", "));
    }
    let said = if matches!(why, Why::Expired | Why::ExpiredContext { .. }) {
        "has expired"
    } else if matches!(why, Why::NotValidYet | Why::NotValidYetContext { .. }) {
        "is not valid yet"
    } else if matches!(why, Why::UnknownIssuer) {
        "is signed by an authority that is not trusted (endpoint.ca_file names further ones)"
    } else if matches!(why, Why::NotValidForNameContext { .. }) {
        "names no host (it has no subjectAltName)"
    } else if matches!(why, Why::NotValidForName) {
        "is for another name"
    } else if matches!(why, Why::InvalidPurpose | Why::InvalidPurposeContext { .. }) {
        "is not one of a server"
    } else if is_signature(why) {
        "has a key or a signature of a kind that homing does not check \
         (it checks RSA of 2,048 to 8,192 bits, ECDSA with P-256 or P-384, and Ed25519)"
    } else {
        return format!("is not accepted: {}", spaced(why));
    };
    said.to_owned()
}

/// The library has several names for it, some of them deprecated.
fn is_signature(why: &CertificateError) -> bool {
    format!("{why:?}").starts_with("UnsupportedSignatureAlgorithm")
}

/// Alerts about the certificate of the other side, which is homing's. Source: RFC 8446, 6.2.
const OF_CERTIFICATES: [(AlertDescription, &str); 6] = [
    (AlertDescription::BadCertificate, "it cannot be verified"),
    (AlertDescription::UnsupportedCertificate, "it is of a kind that is not supported"),
    (AlertDescription::CertificateRevoked, "it was revoked"),
    (AlertDescription::CertificateExpired, "it has expired, or is not valid yet"),
    (AlertDescription::CertificateUnknown, "for a reason that is not said"),
    (AlertDescription::UnknownCA, "its authority is not known there"),
];

/// The reason of an answer that is about the client certificate: nginx ends the handshake well, and
/// answers the request with a page of its own. Source: nginx, `ngx_http_special_response.c`, 495 and
/// 496, tried with 1.22.
pub(super) fn refused_certificate(status: StatusCode, body: &[u8]) -> Option<&'static str> {
    if status != StatusCode::BAD_REQUEST {
        return None;
    }
    let says = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
    if says(b"No required SSL certificate was sent") {
        Some("it wants a client certificate; give the subscription one (`client_certificate`)")
    } else if says(b"The SSL certificate error") {
        Some(
            "it does not accept the client certificate: expired, revoked, or of an authority that it \
             does not trust; give the subscription another one (`client_certificate`)",
        )
    } else {
        None
    }
}

fn alerted(alert: AlertDescription) -> String {
    if alert == AlertDescription::HandshakeFailure {
        "no cipher or key in common, or it wants a client certificate \
         (`client_certificate` of the subscription)"
            .to_owned()
    } else if alert == AlertDescription::ProtocolVersion {
        "it speaks no TLS from 1.2 on".to_owned()
    } else if alert == AlertDescription::CertificateRequired {
        "it wants a client certificate; give the subscription one (`client_certificate`)".to_owned()
    } else if let Some((_, why)) = OF_CERTIFICATES.iter().find(|(of, _)| *of == alert) {
        // Some servers say so, too, where none was presented.
        format!(
            "it does not accept the client certificate, or wants one: {why} (`client_certificate` \
             of the subscription)"
        )
    } else if alert == AlertDescription::UnrecognisedName {
        "it knows no such host".to_owned()
    } else {
        spaced(&alert)
    }
}

/// The innermost name that `Debug` writes, as words: `Other(OtherError(CaUsedAsEndEntity))` becomes
/// *ca used as end entity*.
fn spaced(name: &impl Debug) -> String {
    let text = format!("{name:?}");
    let is_name = |part: &&str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let mut names = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_name);
    let mut spaced = String::new();
    for c in names.next_back().unwrap_or("unknown reason").chars() {
        if c.is_ascii_uppercase() && !spaced.is_empty() && !spaced.ends_with(' ') {
            spaced.push(' ');
        }
        spaced.push(c.to_ascii_lowercase());
    }
    spaced
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{Error, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved};

    use super::*;

    fn described(error: Error) -> String {
        describe(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Goal: no type name reaches operators. Method: one error of each kind.
    #[test]
    fn tls_errors_are_described_in_words() {
        let other = CertificateError::Other(OtherError(Arc::new(io::Error::other("no idea"))));
        let said: Vec<_> = [
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::InvalidCertificate(CertificateError::Expired),
            Error::InvalidCertificate(CertificateError::NotValidForName),
            Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
            Error::InvalidCertificate(other),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::AlertReceived(AlertDescription::CertificateRequired),
            Error::AlertReceived(AlertDescription::CertificateRevoked),
            Error::AlertReceived(AlertDescription::InternalError),
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::TooMuchEarlyDataReceived),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::DecryptError,
        ]
        .into_iter()
        .map(described)
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        its certificate is signed by an authority that is not trusted (endpoint.ca_file names further ones)
        its certificate has expired
        its certificate is for another name
        its certificate is not accepted: unknown revocation status
        its certificate is not accepted: other
        the endpoint ends the TLS handshake: no cipher or key in common, or it wants a client certificate (`client_certificate` of the subscription)
        the endpoint ends the TLS handshake: it wants a client certificate; give the subscription one (`client_certificate`)
        the endpoint ends the TLS handshake: it does not accept the client certificate, or wants one: it was revoked (`client_certificate` of the subscription)
        the endpoint ends the TLS handshake: internal error
        it does not speak TLS as homing does: no cipher suites in common
        it breaks the rules of TLS: too much early data received
        what it answers is not TLS
        cannot decrypt peer's message
        ");
    }

    #[test]
    fn each_cause_is_said_once() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(describe(&io::Error::other(inner)), "connection refused");
    }
}
