//! The form in which an event is sent: as published, as a CloudEvent, in Workfront's, or by a template.

use bytes::Bytes;
use hyper::header::HeaderValue;

use super::{Purpose, RequestError, Sent};
use homing_domain::{
    cloud_event::{self, CloudEvent},
    event::{ContentEncoding, Event},
    subscription::{AuthToken, EventFormat, Sender, Template, UnfitEvent},
};

/// The content type of a body whose own one no header can carry: bytes. RFC 9110, 8.3.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The event in the form in which it is sent.
pub(super) struct Content {
    pub(super) media_type: Option<HeaderValue>,
    pub(super) encoding: Option<ContentEncoding>,
    /// Of a CloudEvent: names and values of headers.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// Writes the event in the form that the subscription has it sent in.
///
/// # Errors
///
/// [`RequestError::Unfit`] for an event that the form cannot hold.
pub(super) fn in_form(sent: &Sent<'_>) -> Result<Content, RequestError> {
    let Sent { delivery, subscription, now, source, .. } = *sent;
    if matches!(sent.purpose, Purpose::Challenge) {
        return Ok(as_published(&delivery.event));
    }
    if let Some(form) = &subscription.spec.workfront {
        let body = form.message(delivery, now).map_err(RequestError::Unfit)?;
        return Ok(plain(JSON, None, body));
    }
    if let Some(template) = &subscription.spec.template {
        return Ok(plain(JSON, None, message(template, sent)));
    }
    match subscription.spec.format {
        EventFormat::Native => Ok(as_published(&delivery.event)),
        EventFormat::CloudEventsStructured => structured(sent),
        EventFormat::CloudEventsBinary => {
            let event = CloudEvent::of(delivery, source, now);
            if event.fits_binary_mode() { Ok(binary(event)) } else { structured(sent) }
        }
    }
}

fn plain(content_type: HeaderValue, encoding: Option<ContentEncoding>, body: Bytes) -> Content {
    Content { media_type: Some(content_type), encoding, attributes: Vec::new(), body }
}

fn as_published(event: &Event) -> Content {
    let kind = content_type(&event.content_type);
    plain(kind, event.content_encoding.clone(), event.body.clone())
}

/// The event as a CloudEvent in structured mode.
fn structured(sent: &Sent<'_>) -> Result<Content, RequestError> {
    let Sent { delivery, now, source, .. } = *sent;
    let unwritable = |error| RequestError::Unfit(UnfitEvent::Unwritable(error));
    let (kind, body) = cloud_event::structured(delivery, source, now).map_err(unwritable)?;
    Ok(plain(content_type(&kind), None, body))
}

fn binary(event: CloudEvent) -> Content {
    let binary = event.binary();
    Content {
        media_type: binary.content_type.as_deref().map(content_type),
        encoding: binary.content_encoding,
        attributes: binary.headers,
        body: binary.body,
    }
}

/// The event as a message for people.
fn message(template: &Template, sent: &Sent<'_>) -> Bytes {
    let Sent { delivery, subscription, now, .. } = *sent;
    let token = subscription.spec.auth_token.as_ref();
    let sender = Sender {
        name: subscription.spec.description.as_deref().unwrap_or_default(),
        token: token.filter(|_| template.receiver.has_key_in_body()).map(AuthToken::reveal),
        now,
    };
    template.message(&delivery.event, &sender)
}

fn content_type(text: &str) -> HeaderValue {
    match HeaderValue::from_str(text.trim_ascii()) {
        Ok(value) if !value.is_empty() && text.is_ascii() => value,
        Ok(_) | Err(_) => BYTES,
    }
}
