//! The address by which a client calls homing.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, request::Parts, uri::Authority},
};

use crate::web::local::hosts;

/// A proxy that terminates TLS says so. A false claim only concerns the client that makes it.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Scheme and authority, `https://hooks.example.com`; empty where the request names no host.
pub(in crate::api) struct OwnAddress(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for OwnAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let forwarded = parts.headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        let nearest = forwarded.and_then(|value| value.split(|byte| *byte == b',').next());
        let is_https =
            nearest.is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"));
        let scheme = if is_https { "https" } else { "http" };
        let host = hosts(&parts.uri, &parts.headers).into_iter().next();
        let own = |host: Authority| {
            let port = host.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{}{port}", host.host())
        };
        Ok(Self(host.map(own).unwrap_or_default()))
    }
}
