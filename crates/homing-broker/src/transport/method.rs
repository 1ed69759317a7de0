//! Methods from the broker: the positions of their texts, and the size of frames.

use super::{
    notes::Notes,
    wire::{Cursor, MAX_LEVELS, check_table, escaped, is_text, put_long_string, put_short_string},
};

/// A field of a method.
#[derive(Clone, Copy)]
enum MethodField {
    /// Bytes without a text.
    Bytes(usize),
    /// A text; with a name if it is about a message.
    Text(Option<&'static str>),
    /// A table.
    Table,
    /// Bytes preceded by their length.
    Long,
}

const CONNECTION: u16 = 10;
const CHANNEL: u16 = 20;
const QUEUE: u16 = 50;
const BASIC: u16 = 60;

/// `tune` of `connection`.
const TUNE: (u16, u16) = (CONNECTION, 30);

/// The fields of the methods that a broker sends and that have texts.
/// Source: AMQP 0-9-1, *XML Definition*, with RabbitMQ's `connection.blocked` and `basic.cancel`.
fn fields(method: (u16, u16)) -> &'static [MethodField] {
    use MethodField::{Bytes, Long, Table, Text};
    const PLAIN: MethodField = Text(None);
    const EXCHANGE: MethodField = Text(Some("the exchange"));
    const ROUTING_KEY: MethodField = Text(Some("the routing key"));
    match method {
        (CONNECTION, 10) => &[Bytes(2), Table, Long, Long],
        (CONNECTION, 41 | 60) | (BASIC, 21 | 30 | 31 | 72) | (QUEUE, 11) => &[PLAIN],
        (CONNECTION, 50) | (CHANNEL, 40) => &[Bytes(2), PLAIN, Bytes(4)],
        (BASIC, 50) => &[Bytes(2), PLAIN, EXCHANGE, ROUTING_KEY],
        (BASIC, 60) => &[PLAIN, Bytes(9), EXCHANGE, ROUTING_KEY],
        (BASIC, 71) => &[Bytes(9), EXCHANGE, ROUTING_KEY, Bytes(4)],
        _ => &[],
    }
}

/// Rewrites a method that the client cannot decode; `None`: it passes unchanged. What is changed
/// about a message is noted.
pub(super) fn rewritten(payload: &[u8], notes: &mut Notes) -> Option<Vec<u8>> {
    let mut cursor = Cursor(payload);
    let fields = fields((cursor.short()?, cursor.short()?));
    if fields.is_empty() || are_decodable(cursor, fields) {
        return None;
    }
    let mut rewritten = payload.get(..4)?.to_vec();
    for field in fields {
        match field {
            MethodField::Bytes(length) => rewritten.extend(cursor.take(*length)?),
            MethodField::Long => put_long_string(&mut rewritten, cursor.long_string()?),
            MethodField::Table => {
                let table = cursor.long_string()?;
                let is_decodable = check_table(table, MAX_LEVELS).is_ok();
                put_long_string(&mut rewritten, if is_decodable { table } else { b"" });
            }
            MethodField::Text(of_message) => {
                let text = cursor.short_string()?;
                if is_text(text) {
                    put_short_string(&mut rewritten, text);
                    continue;
                }
                put_short_string(&mut rewritten, escaped(text).as_bytes());
                if let Some(what) = of_message {
                    notes.not_utf8(what, text);
                }
            }
        }
    }
    rewritten.extend(cursor.0);
    Some(rewritten)
}

fn are_decodable(mut cursor: Cursor<'_>, fields: &[MethodField]) -> bool {
    let is_decodable = |field: &MethodField| match field {
        MethodField::Bytes(length) => cursor.take(*length).is_some(),
        MethodField::Long => cursor.long_string().is_some(),
        MethodField::Table => {
            cursor.long_string().is_some_and(|table| check_table(table, MAX_LEVELS).is_ok())
        }
        MethodField::Text(_) => cursor.short_string().is_some_and(is_text),
    };
    fields.iter().all(is_decodable)
}

/// The largest frame that the broker sends, if this method is `tune`.
pub(super) fn frame_max(payload: &[u8]) -> Option<u32> {
    let mut cursor = Cursor(payload);
    if (cursor.short()?, cursor.short()?) != TUNE {
        return None;
    }
    let _channel_max = cursor.short()?;
    cursor.long()
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPClass, basic, parse_class};

    use super::*;

    #[test]
    fn a_routing_key_that_is_not_text_is_noted_and_written_as_one() {
        let mut payload = vec![0, 60, 0, 60];
        put_short_string(&mut payload, b"tag");
        payload.extend([0, 0, 0, 0, 0, 0, 0, 7, 1]);
        put_short_string(&mut payload, b"events");
        put_short_string(&mut payload, b"caf\xe9");
        let mut notes = Notes::default();

        let rewritten = rewritten(&payload, &mut notes).unwrap();

        assert!(parse_class(&payload[..]).is_err());
        let (rest, method) = parse_class(&rewritten[..]).unwrap();
        assert!(rest.is_empty());
        let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = method else {
            panic!("{method:?}");
        };
        assert_eq!(deliver.routing_key.as_str(), r"caf\xe9");
        assert_eq!(deliver.exchange.as_str(), "events");
        assert_eq!((deliver.delivery_tag, deliver.redelivered), (7, true));
        assert_eq!(notes.text(1_000).as_deref(), Some(r"the routing key is not UTF-8: caf\xe9"));
    }

    /// A reply text of 255 bytes may end within a character of the name in it.
    #[test]
    fn a_reply_that_was_cut_within_a_character_closes_one_channel_only() {
        let mut payload = vec![0, 20, 0, 40, 1, 148];
        put_short_string(&mut payload, b"no queue 'caf\xc3");
        payload.extend([0, 50, 0, 10]);
        let rewritten = rewritten(&payload, &mut Notes::default()).unwrap();
        assert!(parse_class(&rewritten[..]).is_ok());
    }

    #[test]
    fn decodable_methods_are_unchanged() {
        let mut payload = vec![0, 60, 0, 21];
        put_short_string(&mut payload, "tag".as_bytes());
        assert_eq!(rewritten(&payload, &mut Notes::default()), None);
        assert_eq!(rewritten(&[0, 60, 0, 80, 1], &mut Notes::default()), None);
        assert_eq!(rewritten(&[0], &mut Notes::default()), None);
    }

    #[test]
    fn tune_says_how_large_frames_are() {
        assert_eq!(frame_max(&[0, 10, 0, 30, 0, 8, 0, 2, 0, 0, 0, 60]), Some(131_072));
        assert_eq!(frame_max(&[0, 10, 0, 31, 0, 8, 0, 2, 0, 0, 0, 60]), None);
    }
}
