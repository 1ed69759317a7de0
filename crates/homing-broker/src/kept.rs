//! Messages outside of the broker: everything of one as bytes, and back.
//!
//! One byte for the form, the exchange and the routing key as short strings, the properties preceded
//! by their size, the body. All but the first byte is as on the wire. Source: AMQP 0-9-1, 4.2.5.3
//! and *XML Definition*, class `basic`.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    protocol::basic::{gen_properties, parse_properties},
    types::FieldTable,
};
use sha2::{Digest, Sha256};

/// The form of today.
const FORM: u8 = 1;

/// Headers that the broker writes at every delivery, so that a message that comes again differs.
const PER_DELIVERY: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// Everything of a message.
pub(crate) struct Kept {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

impl From<Delivery> for Kept {
    fn from(delivery: Delivery) -> Self {
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
            body: delivery.data.into(),
        }
    }
}

impl Kept {
    /// The same bytes however often the broker has sent the message; `None`: its properties cannot
    /// be written, which were read from bytes.
    pub(crate) fn written(&self) -> Option<Vec<u8>> {
        let mut properties = self.properties.clone();
        if let Some(table) = properties.headers() {
            let fields = table.inner().iter();
            let stays = fields.filter(|(name, _)| !PER_DELIVERY.contains(&name.as_str()));
            let stays: std::collections::BTreeMap<_, _> =
                stays.map(|(name, value)| (name.clone(), value.clone())).collect();
            properties = properties.with_headers(FieldTable::from(stays));
        }
        let (properties, _) = gen_properties(&properties)(Vec::new().into()).ok()?.into_inner();
        let mut bytes = Vec::with_capacity(properties.len().saturating_add(self.body.len()));
        bytes.push(FORM);
        for text in [&self.exchange, &self.routing_key] {
            bytes.push(u8::try_from(text.len()).ok()?);
            bytes.extend(text.as_bytes());
        }
        bytes.extend(u32::try_from(properties.len()).ok()?.to_be_bytes());
        bytes.extend(properties);
        bytes.extend(&self.body);
        Some(bytes)
    }

    /// Reads what [`written`](Self::written) wrote; `None`: it did not.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (&FORM, rest) = bytes.split_first()? else { return None };
        let (exchange, rest) = short_text(rest)?;
        let (routing_key, rest) = short_text(rest)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (properties, body) = rest.split_at_checked(length)?;
        let (left, properties) = parse_properties(properties).ok()?;
        let body = Bytes::copy_from_slice(body);
        left.is_empty().then_some(Self { exchange, routing_key, properties, body })
    }
}

fn short_text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(length))?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

/// SHA-256 of a message.
pub(crate) fn digest(written: &[u8]) -> [u8; 32] {
    Sha256::digest(written).into()
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, DecimalValue};

    use super::*;

    fn kept() -> Kept {
        let mut inner = FieldTable::default();
        inner.insert("deep".into(), AMQPValue::FieldArray(vec![AMQPValue::Void].into()));
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("flag", AMQPValue::Boolean(true)),
            ("tiny", AMQPValue::ShortShortInt(-1)),
            ("double", AMQPValue::Double(1.5)),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
            ("text", AMQPValue::LongString(b"\xff\0".to_vec().into())),
            ("bytes", AMQPValue::ByteArray(vec![1, 2, 3].into())),
            ("time", AMQPValue::Timestamp(7)),
            ("table", AMQPValue::FieldTable(inner)),
        ] {
            headers.insert(name.into(), value);
        }
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("text/plain".into())
            .with_message_id("m".into())
            .with_priority(3)
            .with_timestamp(9)
            .with_user_id("u".into());
        let body = Bytes::from_static(b"\0\xff body");
        Kept { exchange: "p.v1.route".into(), routing_key: "p.v2.parked".into(), properties, body }
    }

    #[test]
    fn everything_of_a_message_comes_back() {
        let kept = kept();
        let read = Kept::read(&kept.written().unwrap()).unwrap();
        assert_eq!(read.properties, kept.properties);
        assert_eq!((read.exchange, read.routing_key), (kept.exchange, kept.routing_key));
        assert_eq!(read.body, kept.body);
    }

    #[test]
    fn a_number_that_is_none_comes_back_bit_by_bit() {
        let mut kept = kept();
        let mut headers = FieldTable::default();
        headers.insert("nan".into(), AMQPValue::Double(f64::NAN));
        kept.properties = kept.properties.with_headers(headers);
        let written = kept.written().unwrap();
        assert_eq!(Kept::read(&written).unwrap().written().unwrap(), written);
    }

    /// Goal: a message that the broker sends again is recognised.
    #[test]
    fn a_message_that_comes_again_has_the_same_digest() {
        let (first, mut again) = (kept(), kept());
        let mut headers = again.properties.headers().clone().unwrap();
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1));
        again.properties = again.properties.with_headers(headers);
        let (first, again) = (first.written().unwrap(), again.written().unwrap());
        assert_eq!(digest(&first), digest(&again));
    }

    #[test]
    fn what_was_cut_is_not_read() {
        let written = kept().written().unwrap();
        let whole = written.len() - kept().body.len();
        for length in 0..whole {
            assert!(Kept::read(&written[..length]).is_none(), "{length}");
        }
        assert!(Kept::read(b"\x02").is_none());
    }
}
