//! Builds a subscription's request before there is an event, so that unsendable values, and a client
//! certificate that cannot be presented, are refused when they are set.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::AUTHORIZATION};
use rustls::pki_types::ServerName;
use url::Host;

use super::{Purpose, RequestError, Sent, request, tls::identity};
use homing_domain::{
    delivery::{Delivery, Progress},
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    subscription::{FieldError, Subscription},
    time::UnixMillis,
    topic::Topic,
};

/// Builds the request for `subscription` with the function that builds it for every attempt, and
/// checks that it has the given values. Sends nothing, and looks no name up.
///
/// # Errors
///
/// [`FieldError`] for a value that would not be sent as given.
pub fn rehearse(subscription: &Subscription) -> Result<(), FieldError> {
    let field_error = |error: &dyn std::fmt::Display| FieldError::new("subscription", error);
    let event = Event {
        id: EventId::new("rehearsal").map_err(|error| field_error(&error))?,
        topic: Topic::new("rehearsal").map_err(|error| field_error(&error))?,
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: Bytes::from_static(b"{}"),
    };
    let delivery = Delivery::new(Arc::new(event), subscription.id, Progress::default());
    let now = UnixMillis::new(0);
    // Any will do: that of the settings is checked at start.
    let source = "urn:homing";
    let purpose = Purpose::Delivery;
    let sent = Sent { delivery: &delivery, subscription, now, token: None, source, purpose };
    let request = request::build(&sent);
    let request = request.map_err(|error| refused(&error, subscription))?;
    if let Some(certificate) = &subscription.spec.client_certificate {
        identity(certificate.reveal())?;
    }
    address(&request, subscription)?;
    headers(&request, subscription)
}

fn refused(error: &RequestError, subscription: &Subscription) -> FieldError {
    match error {
        RequestError::Url(why) => {
            FieldError::new("url", format!("no request can be made to it ({why})"))
        }
        RequestError::Key(_) => FieldError::new("url", error),
        RequestError::Header { name } if *name == AUTHORIZATION.as_str() => {
            let spec = &subscription.spec;
            let field = if spec.auth_token.is_some() {
                "auth_token"
            } else if spec.authentication.is_some() {
                "authentication"
            } else {
                "headers.authorization"
            };
            FieldError::new(field, error)
        }
        RequestError::Header { name } => FieldError::new(format!("headers.{name}"), error),
        RequestError::Certificate(error) => error.clone(),
        RequestError::Unfit(_)
        | RequestError::TooLarge { .. }
        | RequestError::Unsendable(_)
        | RequestError::Token(_)
        | RequestError::Resources(_)
        | RequestError::Lookup(_)
        | RequestError::Proxy(_)
        | RequestError::ProxyRefuses(_) => FieldError::new("subscription", error),
    }
}

/// Checks that the request goes to the URL as given, to a host that can have an address.
fn address(request: &Request<Full<Bytes>>, subscription: &Subscription) -> Result<(), FieldError> {
    let url = subscription.spec.url.url();
    if *request.uri() != *url.as_str() {
        let message = format!("it would be sent to {}", request.uri());
        return Err(FieldError::new("url", message));
    }
    if let Some(Host::Domain(name)) = url.host()
        && ServerName::try_from(name).is_err()
    {
        let message = format!(
            "`{name}` cannot be the name of a host: it has 1 to 253 letters, digits, `-`, `_`, in \
             parts of at most 63 with dots between"
        );
        return Err(FieldError::new("url", message));
    }
    if url.port() == Some(0) {
        return Err(FieldError::new("url", "nothing listens on port 0"));
    }
    Ok(())
}

/// Checks that the request has the headers as given, and no others by their names.
fn headers(request: &Request<Full<Bytes>>, subscription: &Subscription) -> Result<(), FieldError> {
    let spec = &subscription.spec;
    let is_sent = |name: &str, value: &str| {
        let mut sent = request.headers().get_all(name).iter();
        sent.next().is_some_and(|sent| sent.as_bytes() == value.as_bytes()) && sent.next().is_none()
    };
    for (name, value) in &spec.headers {
        if !is_sent(name, value) {
            let message = "homing or HTTP sets this header, or its value cannot be sent as it is";
            return Err(FieldError::new(format!("headers.{name}"), message));
        }
    }
    let is_elsewhere = spec.template.as_ref().is_some_and(|it| it.receiver.has_key_in_body());
    match spec.auth_token.as_ref().filter(|_| !is_elsewhere) {
        Some(token) if !is_sent(AUTHORIZATION.as_str(), &format!("Bearer {}", token.reveal())) => {
            Err(FieldError::new("auth_token", "cannot be sent as it is"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::tests::samples::subscription;

    fn refusal(url: &str, changes: &serde_json::Value) -> Option<String> {
        rehearse(&subscription(url, changes)).err().map(|error| error.to_string())
    }

    #[test]
    fn sendable_values_are_accepted() {
        let fine = json!({
            "auth_token": "geheim-äöü",
            "headers": {"Accept": "application/json", "X-Empty": "", "x-team": "größe"},
        });
        for url in [
            "https://example.com/hook?key=1",
            "http://my_service:8080/",
            "https://example.com./a%20b",
            "http://127.0.0.1:9/",
            "https://[2001:db8::1]/",
            "https://bücher.example/ü?x=ü",
            "https://example.com/?x={y}",
        ] {
            assert_eq!(refusal(url, &fine), None, "{url}");
        }
    }

    #[test]
    fn hosts_that_no_request_can_reach_are_refused() {
        let long = format!("https://{}.example.com/", "a".repeat(64));
        for url in ["http://a..b/", "http://ex!ample.com/", "http://example.com:0/", &long] {
            let refused = refusal(url, &json!({}));
            assert!(
                refused.as_ref().is_some_and(|refused| refused.starts_with("`url`: ")),
                "{url} {refused:?}"
            );
        }
    }

    #[test]
    fn a_header_that_would_be_replaced_is_refused_by_name() {
        let mut subscription = subscription("https://example.com/", &json!({}));
        subscription.spec.headers.insert("webhook-id".into(), "forged".into());
        assert_eq!(rehearse(&subscription).unwrap_err().field, "headers.webhook-id");
    }
}
