//! The rules by which a connection over HTTP/1.1 is used again after an answer.

use std::time::Duration;

use hyper::{
    StatusCode,
    header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING},
};

/// An idle connection may be reused within this, unless the endpoint says otherwise: common servers
/// close it after 5 s.
pub(super) const IDLE_DEFAULT: Duration = Duration::from_secs(4);

/// ... and within this, whatever the endpoint says.
pub(super) const MAX_IDLE: Duration = Duration::from_secs(30);

/// A request this close to the end of the endpoint's idle time may meet a closed connection.
const IDLE_MARGIN: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// True if a body is announced that an answer with this status does not have. Some servers send it
/// anyway, and late: it would be taken for the answer to the next request. An answer with two
/// lengths may be read differently by the other side.
///
/// Source: RFC 9112, 6.3.
pub(super) fn has_unread_body(status: StatusCode, headers: &HeaderMap) -> bool {
    let has_coding = headers.contains_key(TRANSFER_ENCODING);
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return has_coding || lengths.any(|length| length != "0");
    }
    has_coding && lengths.next().is_some()
}

/// The time that the connection may be idle: the endpoint's `keep-alive: timeout=5` less a margin,
/// or the default. `None`: it may not be reused.
///
/// Source: RFC 2068, 19.7.1.1; draft-thomson-hybi-http-timeout, 2.
pub(super) fn max_idle(headers: &HeaderMap) -> Option<Duration> {
    let parameters = headers.get_all(KEEP_ALIVE).iter().filter_map(|value| value.to_str().ok());
    let timeout = parameters.flat_map(|value| value.split(',')).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_timeout = name.trim_ascii().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| value.trim_ascii().trim_matches('"').parse().ok()).flatten()
    });
    let Some(seconds) = timeout else { return Some(IDLE_DEFAULT) };
    let max_idle = Duration::from_secs(seconds).checked_sub(IDLE_MARGIN)?;
    (!max_idle.is_zero()).then_some(max_idle.min(MAX_IDLE))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_endpoint_decides_how_long_a_connection_may_be_idle() {
        let idle = |value| max_idle(&headers(&[("keep-alive", value)])).map(|idle| idle.as_secs());
        assert_eq!(max_idle(&headers(&[])), Some(IDLE_DEFAULT));
        assert_eq!(idle("timeout=5"), Some(4));
        assert_eq!(idle("max=100, Timeout = \"20\""), Some(19));
        assert_eq!(idle("timeout=86400"), Some(30));
        assert_eq!(idle("timeout=1"), None);
        assert_eq!(idle("timeout=0, max=1"), None);
        assert_eq!(idle("timeout=soon"), Some(4));
        assert_eq!(idle("timeout=99999999999999999999999"), Some(4));
    }

    #[test]
    fn an_answer_that_announces_a_body_it_does_not_have_ends_its_connection() {
        let unread = |status, lines: &[_]| has_unread_body(status, &headers(lines));
        assert!(unread(StatusCode::NO_CONTENT, &[("content-length", "5")]));
        assert!(unread(StatusCode::NOT_MODIFIED, &[("transfer-encoding", "chunked")]));
        assert!(!unread(StatusCode::NO_CONTENT, &[("content-length", "0")]));
        assert!(!unread(StatusCode::OK, &[("content-length", "5")]));
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert!(unread(StatusCode::OK, &both));
    }
}
