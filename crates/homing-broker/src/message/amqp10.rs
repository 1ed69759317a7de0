//! Bodies in AMQP 1.0 encoding.
//!
//! A publisher of AMQP 1.0 may send bytes (a *data* section), which arrive unchanged, or a value or
//! a sequence of any of its types. RabbitMQ passes those to a consumer of AMQP 0-9-1 in encoded
//! form and marks them in the property `type`. The plugin of RabbitMQ 3 marks bytes as `binary`,
//! and encodes several data sections in reverse order.
//!
//! Source: RabbitMQ, `mc_amqpl.erl` and, in version 3, `rabbit_amqp1_0_message.erl`; AMQP 1.0, 1.6
//! (types) and 3.2.6 to 3.2.8 (sections).

use bytes::{Buf, Bytes};
use lapin::{BasicProperties, types::ShortString};

use crate::headers::Headers;

/// RabbitMQ's `type` of an encoded body.
const KIND: &str = "amqp-1.0";
/// Its plugin's `type` of bytes, and the header that comes with it.
const PLUGIN_KIND: (&str, &str) = ("binary", "x-amqp-1.0-properties");
/// The first byte of every section.
const DESCRIBED: u8 = 0x00;

/// Returns true if the body is in AMQP 1.0 encoding.
pub(super) fn is_encoded(properties: &BasicProperties, body: &Bytes) -> bool {
    kind(properties) == Some(KIND) && body.first() == Some(&DESCRIBED)
}

/// Returns true if the broker wrote `type` for a body that is bytes.
pub(super) fn is_called_binary(properties: &BasicProperties) -> bool {
    let (binary, header) = PLUGIN_KIND;
    kind(properties) == Some(binary) && Headers(properties.headers().as_ref()).contains(header)
}

fn kind(properties: &BasicProperties) -> Option<&str> {
    properties.kind().as_ref().map(ShortString::as_str)
}

/// Extracts the one text or binary value of the body; the error names what it is instead.
pub(super) fn unwrapped(mut body: Bytes) -> Result<Bytes, &'static str> {
    const VALUE: &[u8] = b"amqp:amqp-value:*";
    const SEQUENCE: &[u8] = b"amqp:amqp-sequence:list";
    const BROKEN: &str = "bytes that are cut off";
    body.advance(1);
    let descriptor = match octet(&mut body).ok_or(BROKEN)? {
        0x53 => u64::from(octet(&mut body).ok_or(BROKEN)?),
        0x80 => body.try_get_u64().map_err(|_| BROKEN)?,
        symbol @ (0xa3 | 0xb3) => match &variable(symbol == 0xa3, &mut body).ok_or(BROKEN)?[..] {
            VALUE => 0x77,
            SEQUENCE => 0x76,
            _ => 0,
        },
        _ => 0,
    };
    match descriptor {
        0x77 => {}
        0x76 => return Err("a sequence"),
        0x75 => return Err("data in several sections"),
        _ => return Err("a section that homing does not know"),
    }
    let is_short = match octet(&mut body).ok_or(BROKEN)? {
        0xa0 | 0xa1 => true,
        0xb0 | 0xb1 => false,
        0x45 | 0xc0 | 0xd0 => return Err("a list"),
        0xc1 | 0xd1 => return Err("a map"),
        0xe0 | 0xf0 => return Err("an array"),
        0x40 => return Err("null"),
        _ => return Err("a value that is neither text nor binary"),
    };
    let unwrapped = variable(is_short, &mut body).ok_or(BROKEN)?;
    if body.is_empty() { Ok(unwrapped) } else { Err("more than one section") }
}

fn octet(body: &mut Bytes) -> Option<u8> {
    body.try_get_u8().ok()
}

/// Bytes preceded by their length, in one byte or in four.
fn variable(is_short: bool, body: &mut Bytes) -> Option<Bytes> {
    let length = if is_short { u32::from(octet(body)?) } else { body.try_get_u32().ok()? };
    let length = usize::try_from(length).ok()?;
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped_of(bytes: &[u8]) -> Result<Bytes, &'static str> {
        unwrapped(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn one_text_or_binary_is_the_body() {
        let json = Ok(Bytes::from_static(b"{}"));
        assert_eq!(unwrapped_of(b"\0\x53\x77\xa1\x02{}"), json);
        assert_eq!(unwrapped_of(b"\0\x53\x77\xb1\0\0\0\x02{}"), json);
        assert_eq!(unwrapped_of(b"\0\x53\x77\xa0\x02{}"), json);
        assert_eq!(unwrapped_of(b"\0\x53\x77\xb0\0\0\0\x02{}"), json);
        assert_eq!(unwrapped_of(b"\0\x80\0\0\0\0\0\0\0\x77\xa1\x02{}"), json);
        assert_eq!(unwrapped_of(b"\0\xa3\x11amqp:amqp-value:*\xa1\x02{}"), json);
    }

    #[test]
    fn what_is_something_else_is_named() {
        for (bytes, what) in [
            (&b"\0\x53\x76\x45"[..], "a sequence"),
            (b"\0\x53\x77\xc1\x01\0", "a map"),
            (b"\0\x53\x77\x45", "a list"),
            (b"\0\x53\x77\x41", "a value that is neither text nor binary"),
            (b"\0\x53\x75\xa0\0", "data in several sections"),
            (b"\0\x53\x78\xc1\x01\0", "a section that homing does not know"),
            (b"\0\x53\x77\xa1\x02{}\0\x53\x77\x40", "more than one section"),
            (b"\0\x53\x77\xa1\x09{}", "bytes that are cut off"),
            (b"\0", "bytes that are cut off"),
        ] {
            assert_eq!(unwrapped_of(bytes), Err(what), "{bytes:?}");
        }
    }
}
