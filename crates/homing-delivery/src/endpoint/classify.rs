//! The outcome of an answer, or of the lack of one.
//!
//! Ambiguous failures count against the endpoint as [`Obstacle::ConnectionLost`]: unknown is never
//! success. What is certainly ours (an invalid request, no file descriptors left) is a
//! [`RequestError`] and costs the endpoint nothing.

use std::{
    error::Error,
    io,
    iter::successors,
    time::{Duration, UNIX_EPOCH},
};

use hyper::{
    StatusCode,
    header::{HeaderMap, HeaderName, RETRY_AFTER},
};
use tokio::time::error::Elapsed;

use super::{
    RequestError,
    client::{BoxError, ConnectError, SendError},
    proxy::ProxyError,
    resolve::ResolveError,
};
use homing_domain::{
    delivery_control::DeliveryControl,
    outcome::{Obstacle, Outcome, Phase},
    time::UnixMillis,
};

const WEBHOOK_DELIVERY: HeaderName = HeaderName::from_static("webhook-delivery");

/// The outcome of an answer with this head. Only 2xx accepts; a redirect is not followed, because
/// its address was never approved.
pub(super) fn outcome_of(status: StatusCode, headers: &HeaderMap, now: UnixMillis) -> Outcome {
    if status.is_success() {
        return Outcome::Accepted { status: status.as_u16() };
    }
    let applies = RETRY_AFTER_STATUSES.contains(&status);
    let header = applies.then(|| headers.get(RETRY_AFTER)).flatten();
    Outcome::Refused {
        status: status.as_u16(),
        retry_after: header.and_then(|value| retry_after(value.as_bytes(), now)),
    }
}

/// The instruction of the header `webhook-delivery`; of several, the one that reaches further. Others
/// than the two are ignored.
///
/// Source: Svix documentation, *Delivery Control*.
pub(super) fn control(headers: &HeaderMap) -> Option<DeliveryControl> {
    let values = headers.get_all(WEBHOOK_DELIVERY).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.filter_map(|word| DeliveryControl::read(word.trim_ascii())).max()
}

/// `Retry-After` counts with these. It is specified for 413, 429 and 503 (source: RFC 9110,
/// 15.5.14; RFC 6585, 4; RFC 9110, 10.2.3), rate limits answer 403 with it (source: GitHub, *Best
/// practices for using the REST API*), and a gateway that knows when its server is back answers 502
/// or 504. With a redirect it refers to the new address.
const RETRY_AFTER_STATUSES: [StatusCode; 6] = [
    StatusCode::FORBIDDEN,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The wait from `now` on that `value` of `Retry-After` requests; `None` for anything but a number
/// of seconds or a date. A date in the past means zero.
///
/// Source: RFC 9110, 10.2.3 and, for the three forms of a date, 5.6.7.
#[must_use]
pub fn retry_after(value: &[u8], now: UnixMillis) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits mean: very long.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixMillis::new(0).plus(date).since(now))
}

/// Returns `error` if the endpoint is responsible for it.
///
/// # Errors
///
/// [`RequestError`] if homing is.
pub(super) fn endpoint_error(error: BoxError) -> Result<BoxError, RequestError> {
    if causes(error.as_ref()).any(is_misuse) {
        Err(RequestError::Unsendable(error))
    } else if is_exhausted(error.as_ref()) {
        Err(RequestError::Resources(error))
    } else if causes(error.as_ref()).any(is_lookup_failure) {
        Err(RequestError::Lookup(error))
    } else {
        let of_proxy = causes(error.as_ref()).find_map(<dyn Error>::downcast_ref::<ProxyError>);
        let (is_rule, is_of_proxy) = of_proxy
            .map_or((false, false), |of_proxy| (of_proxy.is_rule(), of_proxy.outcome().is_none()));
        match (is_rule, is_of_proxy) {
            (true, _) => Err(RequestError::ProxyRefuses(error)),
            (false, true) => Err(RequestError::Proxy(error)),
            (false, false) => Ok(error),
        }
    }
}

/// True if the end of a request may be that of the proxy that it went through as well as the
/// endpoint's: nothing came that only one of them can have sent.
pub(super) fn may_be_of_proxy(error: &SendError) -> bool {
    let says_who = |cause: &(dyn Error + 'static)| {
        cause.is::<ProxyError>() || cause.is::<ResolveError>() || cause.is::<rustls::Error>()
    };
    match error {
        SendError::Connect(error) => !causes(error).any(says_who),
        SendError::Failed(failed) => {
            let has_answer = failed.status.is_some() || failed.error.is_parse();
            failed.tls.is_none() && !has_answer && !causes(&failed.error).any(says_who)
        }
        SendError::ConnectTimeout(_) | SendError::Timeout(_) => true,
    }
}

/// The outcome of a request that ended in `error`.
pub(super) fn failure(error: &(dyn Error + 'static)) -> Outcome {
    let of_proxy = causes(error).find_map(<dyn Error>::downcast_ref::<ProxyError>);
    if let Some(outcome) = of_proxy.and_then(ProxyError::outcome) {
        return outcome;
    }
    if error.is::<ConnectError>() && causes(error).any(is_late) {
        return Outcome::TimedOut { phase: Phase::Connect };
    }
    let kind = causes(error)
        .find_map(obstacle)
        .or_else(|| causes(error).find_map(unreadable))
        .unwrap_or(Obstacle::ConnectionLost);
    Outcome::Unreachable { kind }
}

/// Iterates over `error` and its causes, outermost first. `io::Error::source` skips the error that
/// it wraps, and h2 does not expose the I/O error that it holds.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        if let Some(wrapping) = error.downcast_ref::<io::Error>() {
            wrapping.get_ref().map(|inner| inner as &(dyn Error + 'static))
        } else if let Some(http2) = error.downcast_ref::<h2::Error>() {
            http2.get_io().map(|inner| inner as &(dyn Error + 'static))
        } else {
            error.source()
        }
    }
    successors(Some(error), |error| cause(*error))
}

/// A packet filter on this machine refuses with `PermissionDenied`.
const NO_ROUTE: [io::ErrorKind; 5] = [
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::AddrNotAvailable,
    io::ErrorKind::PermissionDenied,
];

/// The obstacle that `cause` alone proves. Resets, ends and broken connections prove nothing:
/// [`failure`] treats the rest as such.
fn obstacle(cause: &(dyn Error + 'static)) -> Option<Obstacle> {
    if let Some(error) = cause.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::NotAllowed(_) => Obstacle::AddressNotAllowed,
            ResolveError::Nothing
            | ResolveError::Silent
            | ResolveError::Failed(_)
            | ResolveError::Busy
            | ResolveError::Unasked(_) => Obstacle::Dns,
        });
    }
    if cause.is::<rustls::Error>() {
        return Some(Obstacle::Tls);
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_parse().then_some(Obstacle::NotHttp);
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        // The library ends a connection when the other side violates the protocol.
        return error.is_library().then_some(Obstacle::NotHttp);
    }
    let kind = cause.downcast_ref::<io::Error>()?.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        return Some(Obstacle::ConnectionRefused);
    }
    NO_ROUTE.contains(&kind).then_some(Obstacle::NoRoute)
}

/// Broken framing of a body surfaces as an I/O error about data. Checked last: TLS errors are
/// wrapped the same way.
fn unreadable(cause: &(dyn Error + 'static)) -> Option<Obstacle> {
    let kind = cause.downcast_ref::<io::Error>()?.kind();
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        .then_some(Obstacle::NotHttp)
}

/// True if the connect deadline passed, for one address or for all.
fn is_late(cause: &(dyn Error + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    cause.is::<Elapsed>() || cause.downcast_ref().is_some_and(timed_out)
}

/// True if homing misused the client.
fn is_misuse(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user)
}

/// True if the lookup failed on our side.
fn is_lookup_failure(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<ResolveError>().is_some_and(ResolveError::is_ours)
}

/// True if `error` says that this process has no descriptors or memory left.
pub(super) fn is_exhausted(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(is_exhaustion)
}

/// True if this process has no descriptors or memory left for another connection.
fn is_exhaustion(cause: &(dyn Error + 'static)) -> bool {
    /// `ENFILE` and `EMFILE`. Source: Linux `asm-generic/errno-base.h`; macOS has the same.
    const NO_DESCRIPTORS: [i32; 2] = [23, 24];
    cause.downcast_ref::<io::Error>().is_some_and(|error| {
        error.kind() == io::ErrorKind::OutOfMemory
            || error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code))
    })
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Wed, 21 Oct 2015 07:28:00 GMT
    const NOW_S: u64 = 1_445_412_480;

    fn parsed(value: &str) -> Option<u64> {
        let now = UnixMillis::new(0).plus(Duration::from_secs(NOW_S));
        retry_after(value.as_bytes(), now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_in_any_form() {
        assert_eq!(parsed("120"), Some(120));
        assert_eq!(parsed(" 0 "), Some(0));
        assert_eq!(parsed("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(parsed("Wed, 21 Oct 2015 07:29:00 GMT"), Some(60));
        assert_eq!(parsed("Wednesday, 21-Oct-15 07:29:00 GMT"), Some(60));
        assert_eq!(parsed("Wed Oct 21 07:29:00 2015"), Some(60));
        assert_eq!(parsed("Tue, 20 Oct 2015 07:28:00 GMT"), Some(0));
    }

    #[test]
    fn a_retry_after_that_makes_no_sense_is_ignored() {
        for garbage in ["", "-1", "+1", "1.5", "1s", "soon", "1 2", "Wed, 99 Oct 2015 07:28:00 GMT"]
        {
            assert_eq!(parsed(garbage), None, "{garbage:?}");
        }
        assert_eq!(retry_after(b"\xff", UnixMillis::new(0)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_retry_after_or_none(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
                    .prop_map(String::into_bytes),
                "[0-9]{0,30}".prop_map(String::into_bytes),
            ],
            now in any::<i64>(),
        ) {
            let parsed = retry_after(&value, UnixMillis::new(now));
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            prop_assert!(parsed.is_some() || !is_number);
        }
    }

    #[test]
    fn of_several_instructions_the_one_that_reaches_further_counts() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WEBHOOK_DELIVERY, HeaderValue::from_static(value));
            }
            control(&headers).map(|control| control.to_string())
        };
        assert_eq!(read(&["abort-message"]).as_deref(), Some("webhook-delivery: abort-message"));
        for disable in [&["DISABLE"][..], &["abort-message", "disable"], &["x, disable ,y"]] {
            assert_eq!(read(disable).as_deref(), Some("webhook-delivery: disable"), "{disable:?}");
        }
        for none in [&[][..], &[""], &["disabled"], &["abort message"]] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }

    fn outcome(status: u16, retry_after: Option<&'static str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
        }
        outcome_of(StatusCode::from_u16(status).unwrap(), &headers, UnixMillis::new(0))
    }

    #[test]
    fn only_2xx_accepts() {
        for status in 100..=599 {
            assert_eq!(outcome(status, None).is_accepted(), (200..300).contains(&status));
            assert_eq!(outcome(status, None).status(), Some(status));
        }
    }

    #[test]
    fn retry_after_counts_where_it_concerns_a_retry() {
        let counting: Vec<_> = (300..600)
            .filter(|status| {
                let retry_after = Some(Duration::from_secs(7));
                outcome(*status, Some("7")) == Outcome::Refused { status: *status, retry_after }
            })
            .collect();
        assert_eq!(counting, [403, 413, 429, 502, 503, 504]);
    }

    #[test]
    fn a_cause_deep_in_an_error_is_found() {
        let seen = |error: io::Error| {
            let outer = io::Error::other(error);
            causes(&outer).find_map(obstacle).or_else(|| causes(&outer).find_map(unreadable))
        };
        let tls = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(seen(tls), Some(Obstacle::Tls));
        assert_eq!(seen(io::ErrorKind::HostUnreachable.into()), Some(Obstacle::NoRoute));
        let framing = io::Error::new(io::ErrorKind::InvalidInput, "Invalid chunk size line");
        assert_eq!(seen(framing), Some(Obstacle::NotHttp));
        assert_eq!(seen(io::Error::other("no idea")), None);
    }

    #[test]
    fn running_out_of_descriptors_is_not_the_endpoints_doing() {
        let exhausted = io::Error::other(io::Error::from_raw_os_error(24));
        assert!(causes(&exhausted).any(is_exhaustion));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(!causes(&refused).any(is_exhaustion));
    }
}
