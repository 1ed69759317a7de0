//! Attributes of a CloudEvent in binary mode.
//!
//! Source: CloudEvents 1.0.2, *AMQP Protocol Binding*, 3.1.3: each attribute is an application property
//! whose name has the prefix `cloudEvents:` or `cloudEvents_`; `datacontenttype` is the property
//! `content-type`. An event has `specversion`.

use lapin::types::FieldTable;
use serde_json::Value;

use crate::headers::Headers;
use homing_domain::cloud_event::{Attributes, is_attribute_name, is_known_version};

/// The prefix of the names in each spelling, and the name that an event always has.
const SPELLINGS: [(&str, &str); 2] =
    [("cloudEvents:", "cloudEvents:specversion"), ("cloudEvents_", "cloudEvents_specversion")];

/// Attributes that are texts, whatever type a publisher writes. Source: CloudEvents 1.0.2,
/// *Specification*, 3, required and optional attributes.
const TEXTS: [&str; 7] = ["specversion", "id", "source", "type", "subject", "dataschema", "time"];

/// The attributes that the headers have; `None`: they are not those of a CloudEvent of version 1.
/// One whose name or value cannot be an attribute's is left out.
pub(super) fn attributes(table: Option<&FieldTable>) -> Option<Attributes> {
    let headers = Headers(table);
    let is_version = |name: &str| headers.text(name).is_some_and(|text| is_known_version(&text));
    let (prefix, _) = SPELLINGS.into_iter().find(|(_, version)| is_version(version))?;
    let read = |whole: &str| {
        let name = whole.strip_prefix(prefix)?;
        let is_attribute = is_attribute_name(name) && name != "datacontenttype";
        let value = headers.attribute(whole).filter(|_| is_attribute)?;
        let is_other = TEXTS.contains(&name) && !value.is_string();
        let value = if is_other { Value::from(value.to_string()) } else { value };
        Some((name.to_owned(), value))
    };
    Some(table?.inner().keys().filter_map(|name| read(name.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use lapin::types::AMQPValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn attributes_of_every_type_are_read_and_what_can_be_none_is_left_out() {
        let mut table = FieldTable::default();
        let mut put = |name: &str, value| {
            table.insert(format!("cloudEvents_{name}").into(), value);
        };
        put("specversion", AMQPValue::LongString("1.0".into()));
        put("id", AMQPValue::ShortString("p".into()));
        put("n", AMQPValue::LongInt(-7));
        put("large", AMQPValue::LongLongInt(i64::from(i32::MAX) + 1));
        put("subject", AMQPValue::LongInt(7));
        put("source", AMQPValue::Boolean(true));
        put("flag", AMQPValue::Boolean(true));
        put("time", AMQPValue::Timestamp(1_700_000_000));
        put("text", AMQPValue::ByteArray("ü".as_bytes().to_vec().into()));
        put("bytes", AMQPValue::ByteArray(vec![0xff].into()));
        put("none", AMQPValue::Void);
        put("empty", AMQPValue::LongString("".into()));
        put("datacontenttype", AMQPValue::LongString("text/plain".into()));
        put("Other_Name", AMQPValue::LongString("x".into()));
        table.insert("cloudEvents:id".into(), AMQPValue::LongString("another spelling".into()));
        let read = attributes(Some(&table)).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": "p", "n": -7, "flag": true, "text": "ü",
            "time": "2023-11-14T22:13:20.000Z", "large": "2147483648", "subject": "7",
            "source": "true",
        });
        assert_eq!(serde_json::Value::Object(read), expected);
    }

    #[test]
    fn of_another_version_it_is_no_cloud_event_that_is_known() {
        let read = |version: AMQPValue| {
            let mut table = FieldTable::default();
            table.insert("cloudEvents:specversion".into(), version);
            attributes(Some(&table)).is_some()
        };
        assert!(read(AMQPValue::LongString("1.0".into())));
        assert!(!read(AMQPValue::LongString("0.3".into())));
        assert!(!read(AMQPValue::LongInt(1)));
    }

    #[test]
    fn without_a_version_it_is_no_cloud_event() {
        let mut table = FieldTable::default();
        assert_eq!(attributes(None), None);
        table.insert("cloudEvents:id".into(), AMQPValue::LongString("p".into()));
        assert_eq!(attributes(Some(&table)), None);
    }
}
