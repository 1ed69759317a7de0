//! Events that were published in structured mode.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, value::RawValue};

use super::{
    Attributes, CloudEvent, Data, REQUIRED, STRUCTURED, is_json, is_known_version, media_type,
};
use crate::event::{CONTENT_TYPE_DEFAULT, Event};

/// The event that was published in structured mode; `None`: it was not, or it is no event of version
/// 1 (then its body is data as any other).
pub(super) fn read(event: &Event) -> Option<CloudEvent> {
    let is_plain = event.content_encoding.as_ref().is_none_or(|it| it.as_str() == "identity");
    if media_type(&event.content_type) != STRUCTURED || !is_plain {
        return None;
    }
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(&event.body).ok()?;
    // A member of null is none. Source: *JSON Event Format*, 2.
    members.retain(|_name, value| value.get() != "null");
    let (json, base64) = (members.remove("data"), members.remove("data_base64"));
    let content_type: Option<String> = match members.remove("datacontenttype") {
        Some(content_type) => Some(parsed(content_type)?),
        None => None,
    };
    let attributes = attributes(members)?;
    let data = match (json, base64) {
        (None, None) => Data::None,
        (Some(json), None) => of_json(json, content_type.as_deref(), &event.body)?,
        (None, Some(base64)) => {
            Data::Bytes(STANDARD.decode(parsed::<String>(base64)?).ok()?.into())
        }
        // Source: *JSON Event Format*, 3.1: there is one of them.
        (Some(_), Some(_)) => return None,
    };
    let has_data = !matches!(data, Data::None);
    let content_type = content_type.or_else(|| has_data.then(|| CONTENT_TYPE_DEFAULT.to_owned()));
    Some(CloudEvent { attributes, content_type, data })
}

/// The attributes of an event of version 1; `None`: one of those that it has to have is missing, or
/// one is no attribute.
fn attributes(members: BTreeMap<String, &RawValue>) -> Option<Attributes> {
    let read = |(name, value): (String, &RawValue)| {
        let value: Value = parsed(value)?;
        let is_value = !value.is_array() && !value.is_object();
        is_value.then_some((name, value))
    };
    let attributes: Attributes = members.into_iter().map(read).collect::<Option<_>>()?;
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    let is_whole = REQUIRED.iter().all(|name| text(name).is_some_and(|text| !text.is_empty()));
    let is_known = text("specversion").is_some_and(is_known_version);
    (is_whole && is_known).then_some(attributes)
}

/// The data of the member `data`: a string is a text where the media type is not JSON. Source: *JSON
/// Event Format*, 3.1.1.
fn of_json(json: &RawValue, content_type: Option<&str>, body: &Bytes) -> Option<Data> {
    let is_text = content_type.is_some_and(|it| !is_json(it)) && json.get().starts_with('"');
    if is_text {
        return Some(Data::Text(parsed::<String>(json)?.into()));
    }
    Some(Data::Json(body.slice_ref(json.get().as_bytes())))
}

fn parsed<T: serde::de::DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}
