//! Recognises requests from this machine, the only ones accepted while there is no token.
//!
//! Without tokens the API listens on loopback only. There a web page can still make a browser on
//! this machine send requests, and a proxy forwards requests of others. The `Host` header reveals a
//! name that an attacker rebinds to 127.0.0.1, `Origin` reveals a form of a foreign page, added
//! headers reveal a proxy.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderName, Uri, Version,
        header::{HOST, ORIGIN},
        uri::Authority,
    },
};

/// The sign that a request does not come from this machine; `None`: there is none.
pub(crate) fn foreign(request: &Request) -> Option<String> {
    let hosts = hosts(request.uri(), request.headers());
    if hosts.is_empty() {
        return Some("the request names no host".to_owned());
    }
    if let Some(foreign) = hosts.iter().find(|host| !is_loopback(host.host())) {
        return Some(format!("`{}` is not a name of this machine", foreign.host()));
    }
    if let Some(why) = came_through_a_proxy(request) {
        return Some(why);
    }
    comes_from_another_page(request).then(|| "the request comes from another page".to_owned())
}

/// Headers, beside `X-Forwarded-…`, that proxies add to what they pass on. Source: RFC 7239
/// (`Forwarded`), RFC 9110 7.6.3 (`Via`); the others are customs of common proxies.
const OF_PROXIES: [&str; 10] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// The sign that a proxy passed a request on, which may come from anywhere. A proxy that adds no
/// header, as nginx by default, speaks HTTP/1.0 unless it is configured otherwise.
fn came_through_a_proxy(request: &Request) -> Option<String> {
    let is_of_proxy = |name: &&str| name.starts_with("x-forwarded-") || OF_PROXIES.contains(name);
    let name = request.headers().keys().map(HeaderName::as_str).find(is_of_proxy);
    if let Some(name) = name {
        return Some(format!("the header `{name}` says that the request came through a proxy"));
    }
    (request.version() <= Version::HTTP_10)
        .then(|| "requests over HTTP/1.0 come from proxies".to_owned())
}

/// The names by which homing was called.
pub(crate) fn hosts(uri: &Uri, headers: &HeaderMap) -> Vec<Authority> {
    let named = headers.get_all(HOST).iter().filter_map(|host| host.to_str().ok());
    let named = named.filter_map(|host| host.parse::<Authority>().ok());
    uri.authority().cloned().into_iter().chain(named).collect()
}

/// True if another page than homing's made the browser send the request.
pub(crate) fn comes_from_another_page(request: &Request) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return false };
    let authority = origin.to_str().unwrap_or_default().split_once("://");
    let own = hosts(request.uri(), request.headers()).into_iter().next();
    !matches!((authority, own), (Some((_scheme, authority)), Some(own))
        if authority.eq_ignore_ascii_case(own.as_str()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn with_headers(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/v1/queues");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn without_tokens_only_names_of_this_machine_are_accepted() {
        let accepts = |host| foreign(&with_headers(&[("host", host)])).is_none();
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.9.9.9", "[::1]:80"] {
            assert!(accepts(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", ""] {
            assert!(!accepts(host), "{host}");
        }
        assert!(foreign(&with_headers(&[])).is_some());
        let twice = with_headers(&[("host", "localhost"), ("host", "evil.example")]);
        assert!(foreign(&twice).is_some());
    }

    #[test]
    fn without_tokens_what_came_through_a_proxy_is_not_accepted() {
        let host = ("host", "127.0.0.1:8080");
        for name in ["x-forwarded-for", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"] {
            let sign = foreign(&with_headers(&[host, (name, "10.1.2.3")])).unwrap();
            assert!(sign.contains("proxy"), "{sign}");
        }
        let mut request = with_headers(&[host]);
        assert!(foreign(&request).is_none());
        *request.version_mut() = Version::HTTP_10;
        assert!(foreign(&request).is_some());
    }

    #[test]
    fn without_tokens_foreign_pages_are_not_accepted() {
        let host = ("host", "127.0.0.1:8080");
        let accepts = |origin| foreign(&with_headers(&[host, ("origin", origin)])).is_none();
        assert!(accepts("http://127.0.0.1:8080"));
        for origin in ["null", "http://127.0.0.1:3000", "https://evil.example", "é", ""] {
            assert!(!accepts(origin), "{origin}");
        }
    }
}
