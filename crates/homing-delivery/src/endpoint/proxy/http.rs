//! HTTP proxies: asks for a tunnel, and if there is a proxy at all.
//!
//! Source: RFC 9110, 9.3.6 (CONNECT); RFC 9209 (`Proxy-Status`).

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    ext::ReasonPhrase,
    header::{
        CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    },
    upgrade,
};

use super::{
    Stream, Target,
    error::{Fault, ProxyError},
};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const SQUID_ERROR: HeaderName = HeaderName::from_static("x-squid-error");

/// Errors of `Proxy-Status` by which the host is at fault. Source: RFC 9209, 2.3.
const OF_HOST: [(&str, Fault); 13] = [
    ("dns_timeout", Fault::NoAddress),
    ("dns_error", Fault::NoAddress),
    ("destination_not_found", Fault::NoAddress),
    ("destination_unavailable", Fault::Lost),
    ("destination_ip_unroutable", Fault::NoRoute),
    ("connection_refused", Fault::Refused),
    ("connection_terminated", Fault::Lost),
    ("connection_timeout", Fault::TimedOut),
    ("connection_read_timeout", Fault::TimedOut),
    ("connection_write_timeout", Fault::TimedOut),
    ("tls_protocol_error", Fault::Tls),
    ("tls_certificate_error", Fault::Tls),
    ("tls_alert_received", Fault::Tls),
];

/// Errors of `X-Squid-Error`. Source: Squid, `errors/templates`.
const OF_SQUID: [(&str, Fault); 4] = [
    ("ERR_DNS_FAIL", Fault::NoAddress),
    ("ERR_CONNECT_FAIL 111", Fault::Refused),
    ("ERR_CONNECT_FAIL 110", Fault::TimedOut),
    ("ERR_CONNECT_FAIL", Fault::NoRoute),
];

/// Asks for a tunnel to `target`; the stream that is returned leads there.
pub(super) async fn ask(
    stream: Stream,
    target: &Target,
    login: Option<&HeaderValue>,
) -> Result<Stream, ProxyError> {
    let response = exchange(stream, connect(target, login)?).await?;
    if !response.status().is_success() {
        return Err(judge(response.status(), response.headers(), reason(&response).as_deref()));
    }
    let has_body = announces_body(response.headers());
    let upgraded = upgrade::on(response).await.map_err(|error| ended(&error))?;
    let parts = upgraded.downcast::<Stream>().map_err(|_| unsendable())?;
    match (parts.read_buf.is_empty(), has_body) {
        (true, _) => Ok(parts.io),
        (false, true) => {
            Err(ProxyError::Protocol("it answers CONNECT with a page, as a web server".to_owned()))
        }
        // What comes through a tunnel is the host's: one of them must not stop all.
        (false, false) => Err(ProxyError::SpeaksFirst),
    }
}

/// True if an answer to CONNECT has a body, which that of a proxy never has. Source: RFC 9110, 9.3.6.
fn announces_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(TRANSFER_ENCODING)
}

/// Checks that a proxy answers when it is asked for a tunnel to `target`. Every answer will do.
pub(super) async fn check(
    stream: Stream,
    target: &Target,
    login: Option<&HeaderValue>,
) -> Result<(), ProxyError> {
    exchange(stream, connect(target, login)?).await.map(drop)
}

/// The request for a tunnel to `target`.
fn connect(
    target: &Target,
    login: Option<&HeaderValue>,
) -> Result<Request<Empty<Bytes>>, ProxyError> {
    let authority = target.to_string();
    let uri: Uri = authority.parse().map_err(|_| unsendable())?;
    let mut request = Request::new(Empty::new());
    (*request.method_mut(), *request.uri_mut()) = (Method::CONNECT, uri);
    let host = HeaderValue::from_str(&authority).map_err(|_| unsendable())?;
    request.headers_mut().insert(HOST, host);
    if let Some(login) = login {
        request.headers_mut().insert(PROXY_AUTHORIZATION, login.clone());
    }
    Ok(request)
}

/// Sends `request` and drives the connection until there is an answer, and, where that makes it a
/// tunnel, until it is handed over.
async fn exchange(
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, ProxyError> {
    let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| ended(&error))?;
    let connection = pin!(connection.with_upgrades());
    let answer = pin!(sender.send_request(request));
    let answer = match select(answer, connection).await {
        Either::Left((Ok(response), connection)) => {
            if response.status().is_success() {
                connection.await.map_err(|error| ended(&error))?;
            }
            Ok(response)
        }
        Either::Left((Err(error), _)) => Err(error),
        Either::Right((_, answer)) => answer.await,
    };
    answer.map_err(|error| ended(&error))
}

/// The reason in the status line, if it is not the usual one.
fn reason(response: &Response<Incoming>) -> Option<String> {
    let reason = response.extensions().get::<ReasonPhrase>()?;
    Some(String::from_utf8_lossy(reason.as_bytes()).chars().take(100).collect())
}

/// The error of a proxy that answered CONNECT with this head.
fn judge(status: StatusCode, headers: &HeaderMap, reason: Option<&str>) -> ProxyError {
    let code = status.as_u16();
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (own, squid) = (header(PROXY_STATUS), header(SQUID_ERROR));
    let note =
        own.or(squid).map(|note| format!(" ({})", note.chars().take(100).collect::<String>()));
    let phrase = reason.or_else(|| status.canonical_reason()).unwrap_or_default();
    let said = format!("{code} {phrase}{}", note.unwrap_or_default());
    let fault = fault(code, own, squid, reason);
    match (status, fault) {
        // tinyproxy answers 401.
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED, _) => {
            ProxyError::Login(said)
        }
        (_, Some(fault)) => ProxyError::Target { said, fault },
        (StatusCode::TOO_MANY_REQUESTS, None) => ProxyError::Failed(said),
        (status, None) if status.is_server_error() => ProxyError::Failed(said),
        (_, None) => ProxyError::Refused(said),
    }
}

/// The fault of the host, if the proxy says that it is at fault.
fn fault(code: u16, own: Option<&str>, squid: Option<&str>, reason: Option<&str>) -> Option<Fault> {
    let named = own.and_then(|own| {
        let (_, error) = own.split_once("error=")?;
        let error = error.trim_start_matches('"');
        let end = error.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        error.get(..end.unwrap_or(error.len()))
    });
    if let Some(named) = named {
        // Others are the proxy's own, whatever its status.
        return OF_HOST.iter().find(|(error, _)| *error == named).map(|(_, fault)| *fault);
    }
    if let Some(squid) = squid
        && let Some((_, fault)) = OF_SQUID.iter().find(|(error, _)| squid.starts_with(error))
    {
        return Some(*fault);
    }
    match (code, reason) {
        // tinyproxy
        (502, _) | (500, Some("Unable to connect")) => Some(Fault::Lost),
        (504, _) => Some(Fault::TimedOut),
        _ => None,
    }
}

/// The end of a connection without a readable answer.
fn ended(error: &hyper::Error) -> ProxyError {
    if error.is_parse() {
        return ProxyError::Protocol("it does not speak HTTP".to_owned());
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return ProxyError::Failed("it ends the connection before it answers".to_owned());
    }
    ProxyError::Failed(crate::endpoint::describe::describe(error))
}

fn unsendable() -> ProxyError {
    ProxyError::Refused("its name cannot be sent".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> ProxyError {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        judge(StatusCode::from_u16(status).unwrap(), &headers, None)
    }

    #[test]
    fn each_answer_is_charged_to_the_one_at_fault() {
        let whose = |status| match judged(status, &[]) {
            ProxyError::Login(_) => "login",
            ProxyError::Failed(_) => "proxy",
            ProxyError::Refused(_) => "rules",
            ProxyError::Target { .. } => "endpoint",
            other @ (ProxyError::Unreachable(_)
            | ProxyError::Silent
            | ProxyError::Protocol(_)
            | ProxyError::Down(_)
            | ProxyError::SpeaksFirst) => panic!("{other:?}"),
        };
        let all = [302, 400, 403, 404, 407, 429, 500, 501, 502, 503, 504, 511].map(whose);
        assert_eq!(
            all,
            [
                "rules", "rules", "rules", "rules", "login", "proxy", "proxy", "proxy", "endpoint",
                "proxy", "endpoint", "proxy"
            ]
        );
    }

    #[test]
    fn a_proxy_that_says_which_side_failed_is_believed() {
        let fault = |error| {
            if let ProxyError::Target { fault, .. } = error { Some(fault) } else { None }
        };
        let status = |value| fault(judged(503, &[("proxy-status", value)]));
        assert_eq!(status("p; error=connection_refused"), Some(Fault::Refused));
        assert_eq!(status("p; error=dns_error; rcode=\"NXDOMAIN\""), Some(Fault::NoAddress));
        assert_eq!(status("p; error=\"connection_timeout\""), Some(Fault::TimedOut));
        assert_eq!(status("p; error=proxy_internal_error"), None);
        let own = judged(502, &[("proxy-status", "p; error=proxy_configuration_error")]);
        assert_eq!(fault(own), None, "502 is not the host's in this case");
        let squid = |value| fault(judged(503, &[("x-squid-error", value)]));
        assert_eq!(squid("ERR_CONNECT_FAIL 111"), Some(Fault::Refused));
        assert_eq!(squid("ERR_CONNECT_FAIL 113"), Some(Fault::NoRoute));
        assert_eq!(squid("ERR_TOO_BIG 0"), None);
    }
}
