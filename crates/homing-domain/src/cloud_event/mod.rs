//! CloudEvents: the form in which a subscription's events may be sent.
//!
//! An event that was published as one keeps its attributes and its data: in structured mode (media
//! type `application/cloudevents+json`), or in binary mode over AMQP. Every other event gets the
//! attributes that homing knows. Which of the two modes is sent does not depend on how it came.
//!
//! Source: CloudEvents 1.0.2: *Specification* (3, attributes and their types), *JSON Event Format*
//! (2, attributes; 3.1, data), *HTTP Protocol Binding* (3.1 binary, 3.2 structured content mode).

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, value::RawValue};

use super::{
    delivery::Delivery,
    event::{CONTENT_TYPE_DEFAULT, ContentEncoding, Event},
    time::UnixMillis,
};

mod published;
#[cfg(test)]
mod tests;

/// The media type of an event in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// Attributes by their names, each a text, a number or a flag; without `datacontenttype`, which is
/// the media type of the data.
pub type Attributes = Map<String, Value>;

/// The attributes that every event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
const SPEC_VERSION: &str = "1.0";
/// An extension attribute of homing's: the content codings that the data has.
const CONTENT_ENCODING: &str = "contentencoding";
/// The beginning of the media types by which receivers know the modes that are not binary. Source:
/// *HTTP Protocol Binding*, 3.
const OF_OTHER_MODES: &str = "application/cloudevents";

/// True if `name` can be that of an attribute. Source: *Specification*, 3, naming conventions.
#[must_use]
pub fn is_attribute_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name != "data" && name.bytes().all(is_allowed)
}

/// True if `text` is a version of the specification whose events are read here: 1.0, or a later one
/// that is compatible with it.
#[must_use]
pub fn is_known_version(text: &str) -> bool {
    text.starts_with("1.")
}

/// True if `text` can be a `source`: a URI reference that is not empty.
#[must_use]
pub fn is_source(text: &str) -> bool {
    // Source: RFC 3986, 2: the characters of a URI reference.
    let is_allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// A delivery's event as a CloudEvent.
#[derive(Debug)]
pub struct CloudEvent {
    attributes: Attributes,
    /// `datacontenttype`; `None` only where the publisher's event has none and no data.
    content_type: Option<String>,
    data: Data,
}

/// The data of an event.
#[derive(Debug)]
enum Data {
    None,
    /// JSON, as it was published.
    Json(Bytes),
    /// UTF-8.
    Text(Bytes),
    Bytes(Bytes),
    /// Bytes with content codings.
    Encoded(Bytes, ContentEncoding),
}

/// An event in binary mode: the parts of an HTTP request.
#[derive(Debug)]
pub struct Binary {
    /// Names (`ce-id`) and values of the headers for the attributes.
    pub headers: Vec<(String, String)>,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The content codings of the body.
    pub content_encoding: Option<ContentEncoding>,
    /// The data.
    pub body: Bytes,
}

impl CloudEvent {
    /// The event of `delivery`. Required attributes that the publisher did not give are filled in: the
    /// id of the event, `source`, the topic as `type`. One that was not published as a CloudEvent
    /// also has the time at which homing took it (`now`, if that is not known).
    #[must_use]
    pub fn of(delivery: &Delivery, source: &str, now: UnixMillis) -> Self {
        let event = &*delivery.event;
        if let Some(published) = published::read(event) {
            return published;
        }
        let own = delivery.cloud_event.as_ref().map(|own| Attributes::clone(own));
        let mut attributes = own.unwrap_or_else(|| {
            let time = delivery.progress.received.unwrap_or(now).to_string();
            Attributes::from_iter([("time".to_owned(), Value::from(time))])
        });
        let known = [SPEC_VERSION, event.id.as_str(), source, event.topic.as_str()];
        for (name, value) in REQUIRED.into_iter().zip(known) {
            attributes.entry(name).or_insert_with(|| Value::from(value));
        }
        let content_type = match event.content_type.trim_ascii() {
            "" => CONTENT_TYPE_DEFAULT,
            content_type => content_type,
        };
        let data = data(event);
        if matches!(data, Data::Encoded(..)) {
            // The data has its own.
            attributes.remove(CONTENT_ENCODING);
        }
        Self { attributes, content_type: Some(content_type.to_owned()), data }
    }

    /// False if receivers would take it for an event in another mode by the media type of its data.
    #[must_use]
    pub fn fits_binary_mode(&self) -> bool {
        let content_type = self.content_type.as_deref().unwrap_or_default();
        !media_type(content_type).starts_with(OF_OTHER_MODES)
    }

    /// The event in binary mode, if that [fits](Self::fits_binary_mode).
    #[must_use]
    pub fn binary(self) -> Binary {
        let header = |(name, value): (&String, &Value)| (format!("ce-{name}"), text(value));
        // A publisher may have used other names, which no header can have.
        let attributes = self.attributes.iter().filter(|(name, _)| is_attribute_name(name));
        let headers = attributes.map(header).collect();
        let (body, content_encoding) = match self.data {
            Data::None => (Bytes::new(), None),
            Data::Json(body) | Data::Text(body) | Data::Bytes(body) => (body, None),
            Data::Encoded(body, encoding) => (body, Some(encoding)),
        };
        Binary { headers, content_type: self.content_type, content_encoding, body }
    }

    /// The event in structured mode, of the media type [`STRUCTURED`]: JSON is its `data` as
    /// published, text a string; other bytes, and those with content codings, are `data_base64`.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON.
    pub fn structured(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// The event of `delivery` in structured mode: one that was published so, byte for byte.
///
/// # Errors
///
/// It cannot be written as JSON.
pub fn structured(
    delivery: &Delivery,
    source: &str,
    now: UnixMillis,
) -> serde_json::Result<(String, Bytes)> {
    let event = &*delivery.event;
    if published::read(event).is_some() {
        return Ok((event.content_type.clone(), event.body.clone()));
    }
    let body = CloudEvent::of(delivery, source, now).structured()?;
    Ok((STRUCTURED.to_owned(), body))
}

impl Serialize for CloudEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;

        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.attributes {
            map.serialize_entry(name, value)?;
        }
        if let Some(content_type) = &self.content_type {
            map.serialize_entry("datacontenttype", content_type)?;
        }
        match &self.data {
            Data::None => {}
            Data::Json(json) => {
                let json: &RawValue = serde_json::from_slice(json).map_err(S::Error::custom)?;
                map.serialize_entry("data", json)?;
            }
            Data::Text(text) => {
                let text = str::from_utf8(text).map_err(S::Error::custom)?;
                map.serialize_entry("data", text)?;
            }
            Data::Bytes(bytes) => map.serialize_entry("data_base64", &STANDARD.encode(bytes))?,
            Data::Encoded(bytes, encoding) => {
                map.serialize_entry(CONTENT_ENCODING, encoding.as_str())?;
                map.serialize_entry("data_base64", &STANDARD.encode(bytes))?;
            }
        }
        map.end()
    }
}

/// The body of an event that is not in structured mode.
fn data(event: &Event) -> Data {
    let body = &event.body;
    let encoding = event.content_encoding.as_ref();
    if let Some(encoding) = encoding.filter(|encoding| encoding.as_str() != "identity") {
        return Data::Encoded(body.clone(), encoding.clone());
    }
    if body.is_empty() {
        return Data::None;
    }
    let content_type = &event.content_type;
    let is_json = is_json(content_type) || content_type.trim_ascii().is_empty();
    if is_json && serde_json::from_slice::<&RawValue>(body).is_ok() {
        return Data::Json(body.clone());
    }
    let is_text = media_type(content_type).starts_with("text/") && str::from_utf8(body).is_ok();
    if is_text { Data::Text(body.clone()) } else { Data::Bytes(body.clone()) }
}

/// In lower case, without parameters.
fn media_type(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim_ascii().to_ascii_lowercase()
}

/// True for a media type that is JSON. Source: *JSON Event Format*, 3.1: `*/json` and `*/*+json`.
fn is_json(content_type: &str) -> bool {
    let kind = media_type(content_type);
    kind.ends_with("/json") || kind.ends_with("+json")
}

/// The value of an attribute as a header has it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => encoded(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A text as the value of a header: percent-encoded in UTF-8, but for what is printed in ASCII
/// without blank, `"` and `%`. Source: *HTTP Protocol Binding*, 3.1.3.2.
fn encoded(text: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
    utf8_percent_encode(text, ENCODED).to_string()
}
