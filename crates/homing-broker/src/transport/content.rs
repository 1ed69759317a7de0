//! Content headers: the properties and headers of one message.

use std::borrow::Cow;

use super::{
    notes::Notes,
    wire::{
        Cursor, Defect, MAX_LEVELS, check_table, check_value, escaped, is_text, put_long_string,
        put_short_string,
    },
};
use crate::message::header;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Table,
    Octet,
    Instant,
}

/// The properties in the order of their flags. Source: AMQP 0-9-1, *XML Definition*, class `basic`.
const PROPERTIES: [(&str, Kind); 14] = [
    ("`content_type`", Kind::Text),
    ("`content_encoding`", Kind::Text),
    ("`headers`", Kind::Table),
    ("`delivery_mode`", Kind::Octet),
    ("`priority`", Kind::Octet),
    ("`correlation_id`", Kind::Text),
    ("`reply_to`", Kind::Text),
    ("`expiration`", Kind::Text),
    ("`message_id`", Kind::Text),
    ("`timestamp`", Kind::Instant),
    ("`type`", Kind::Text),
    ("`user_id`", Kind::Text),
    ("`app_id`", Kind::Text),
    ("`cluster_id`", Kind::Text),
];
const FIRST_FLAG: u16 = 1 << 15;
/// `headers`.
const TABLE_FLAG: u16 = FIRST_FLAG >> 2;

/// Class, weight and the size of the body come before the flags.
const START_BYTES: usize = 12;
/// Bound of the note on a message, with room to spare for all its short strings.
const MAX_NOTE_BYTES: usize = 16 * 1_024;
const VOID: &[u8] = b"V";

/// Returns true if the client can decode this content header.
pub(super) fn is_decodable(payload: &[u8], max_bytes: usize) -> bool {
    payload.len() <= max_bytes && check(Cursor(payload)).is_some()
}

fn check(mut cursor: Cursor<'_>) -> Option<()> {
    cursor.take(START_BYTES)?;
    let flags = cursor.short()?;
    for (position, (_name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & (FIRST_FLAG >> position) == 0 {
            continue;
        }
        match kind {
            Kind::Text => is_text(cursor.short_string()?).then_some(())?,
            Kind::Table => check_table(cursor.long_string()?, MAX_LEVELS).ok()?,
            Kind::Octet => drop(cursor.take(1)?),
            Kind::Instant => drop(cursor.take(8)?),
        }
    }
    cursor.0.is_empty().then_some(())
}

/// A content header that the client can decode.
pub(super) struct Rewritten {
    pub(super) payload: Vec<u8>,
    /// Bytes of headers that were left out, because they are too large or too deep.
    pub(super) left_out: usize,
}

/// Rewrites a content header into at most `max_bytes` bytes; `None`: it lacks even a body size.
/// `whole` is its size, where `payload` is only the beginning of it.
///
/// A header that is too large or too deep keeps its name and loses its value; any other loss is
/// noted in [`header::UNPARSED`].
pub(super) fn rewritten(
    payload: &[u8],
    whole: usize,
    max_bytes: usize,
    mut notes: Notes,
) -> Option<Rewritten> {
    let mut content = Content::read(payload, &mut notes)?;
    if payload.len() < whole {
        notes = Notes::default();
        content.fields.clear();
        notes.too_large(whole);
    }
    let others = START_BYTES + 2 + 4 + content.before.len() + content.after.len();
    let room = max_bytes.saturating_sub(others);
    let bare: usize = content.fields.iter().map(|field| field.size_of_name() + VOID.len()).sum();
    if bare + note_bytes(&notes, room) > room {
        content.fields.clear();
        notes.too_large(whole);
    }
    let note = notes.text(max_note_bytes(room));
    let too_deep = content.left_out;
    let too_large = content.leave_out(room.saturating_sub(note_bytes(&notes, room)));
    Some(Rewritten { payload: content.written(note.as_deref()), left_out: too_deep + too_large })
}

/// Bytes of the note's field beside its text.
const NOTE_FRAME_BYTES: usize = 1 + header::UNPARSED.len() + 1 + 4;

fn max_note_bytes(room: usize) -> usize {
    room.saturating_sub(NOTE_FRAME_BYTES).min(MAX_NOTE_BYTES)
}

fn note_bytes(notes: &Notes, room: usize) -> usize {
    notes.text(max_note_bytes(room)).map_or(0, |text| NOTE_FRAME_BYTES + text.len())
}

/// A content header, taken apart.
struct Content<'a> {
    start: &'a [u8],
    flags: u16,
    /// The properties before the headers, as on the wire.
    before: Vec<u8>,
    fields: Vec<Field<'a>>,
    /// The properties behind the headers.
    after: Vec<u8>,
    left_out: usize,
}

struct Field<'a> {
    name: Cow<'a, [u8]>,
    /// With its type.
    value: &'a [u8],
}

impl Field<'_> {
    fn size_of_name(&self) -> usize {
        1 + self.name.len().min(usize::from(u8::MAX))
    }
}

impl<'a> Content<'a> {
    fn read(payload: &'a [u8], notes: &mut Notes) -> Option<Self> {
        let mut cursor = Cursor(payload);
        let start = cursor.take(START_BYTES)?;
        let flags = cursor.short()?;
        let (before, after, fields) = (Vec::new(), Vec::new(), Vec::new());
        let mut content = Self { start, flags: 0, before, fields, after, left_out: 0 };
        for (position, (name, kind)) in PROPERTIES.into_iter().enumerate() {
            let flag = FIRST_FLAG >> position;
            if flags & flag == 0 {
                continue;
            }
            let rest = cursor.0;
            if content.property(&mut cursor, (name, kind), flag, notes).is_none() {
                notes.broken(name, rest);
                return Some(content);
            }
            content.flags |= flag;
        }
        if !cursor.0.is_empty() {
            notes.broken("what follows its properties", cursor.0);
        }
        Some(content)
    }

    fn property(
        &mut self,
        cursor: &mut Cursor<'a>,
        (name, kind): (&str, Kind),
        flag: u16,
        notes: &mut Notes,
    ) -> Option<()> {
        let into = if flag > TABLE_FLAG { &mut self.before } else { &mut self.after };
        match kind {
            Kind::Octet => into.extend(cursor.take(1)?),
            Kind::Instant => into.extend(cursor.take(8)?),
            Kind::Table => self.read_fields(cursor.long_string()?, notes),
            Kind::Text => {
                let text = cursor.short_string()?;
                if is_text(text) {
                    put_short_string(into, text);
                } else {
                    notes.not_utf8(name, text);
                    put_short_string(into, escaped(text).as_bytes());
                }
            }
        }
        Some(())
    }

    fn read_fields(&mut self, content: &'a [u8], notes: &mut Notes) {
        let mut cursor = Cursor(content);
        while !cursor.0.is_empty() {
            let rest = cursor.0;
            let (Some(name), Some(value)) = (cursor.short_string(), cursor.value()) else {
                return notes.broken("a header", rest);
            };
            let mut name = Cow::Borrowed(name);
            if !is_text(&name) {
                notes.not_utf8("the name of a header", &name);
                name = Cow::Owned(escaped(&name).into_bytes());
            }
            let fit = check_value(value, MAX_LEVELS);
            let shown = || format!("header `{}`", String::from_utf8_lossy(&name));
            match fit {
                Ok(()) => {}
                Err(Defect::TooDeep) => self.left_out = self.left_out.saturating_add(value.len()),
                Err(Defect::Broken) => notes.broken(&shown(), value),
                Err(Defect::Name(text)) => notes.not_utf8(&format!("a name in {}", shown()), text),
            }
            let value = if fit.is_ok() { value } else { VOID };
            self.fields.push(Field { name, value });
        }
    }

    /// Leaves out the largest values until the headers fit into `room`. Returns their bytes.
    fn leave_out(&mut self, room: usize) -> usize {
        let size = |field: &Field<'_>| field.size_of_name() + field.value.len();
        let mut bytes: usize = self.fields.iter().map(size).sum();
        let mut left_out: usize = 0;
        let mut largest: Vec<_> = self.fields.iter_mut().collect();
        largest.sort_by_key(|field| std::cmp::Reverse(field.value.len()));
        for field in largest {
            if bytes <= room {
                break;
            }
            let saved = field.value.len().saturating_sub(VOID.len());
            bytes = bytes.saturating_sub(saved);
            left_out = left_out.saturating_add(saved);
            field.value = VOID;
        }
        left_out
    }

    fn written(&self, note: Option<&str>) -> Vec<u8> {
        let mut table = Vec::new();
        // Of two fields with the same name the client takes the last.
        for field in &self.fields {
            put_short_string(&mut table, &field.name);
            table.extend(field.value);
        }
        if let Some(note) = note {
            put_short_string(&mut table, header::UNPARSED.as_bytes());
            table.push(b'S');
            put_long_string(&mut table, note.as_bytes());
        }
        let mut payload = self.start.to_vec();
        payload.extend((self.flags | TABLE_FLAG).to_be_bytes());
        payload.extend(&self.before);
        put_long_string(&mut payload, &table);
        payload.extend(&self.after);
        payload
    }
}

#[cfg(test)]
mod tests {
    use lapin::{
        BasicProperties,
        protocol::basic::parse_properties,
        types::{AMQPValue, FieldTable},
    };

    use super::*;

    const LARGE: usize = 131_064;

    /// A content header with these flags and these bytes behind them.
    fn payload(flags: u16, properties: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        payload.extend(flags.to_be_bytes());
        payload.extend(properties);
        payload
    }

    fn table(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut content = Vec::new();
        for (name, value) in fields {
            put_short_string(&mut content, name);
            content.extend(*value);
        }
        text(&content).split_off(1)
    }

    fn text(text: &[u8]) -> Vec<u8> {
        let mut value = vec![b'S'];
        put_long_string(&mut value, text);
        value
    }

    /// The properties as the client parses them.
    fn taken(rewritten: &Rewritten) -> (BasicProperties, FieldTable) {
        let (rest, properties) = parse_properties(&rewritten.payload[START_BYTES..]).unwrap();
        assert!(rest.is_empty());
        assert!(is_decodable(&rewritten.payload, LARGE));
        let table = properties.headers().clone().unwrap();
        (properties, table)
    }

    fn fit(payload: &[u8]) -> Rewritten {
        rewritten(payload, payload.len(), LARGE, Notes::default()).unwrap()
    }

    fn note(table: &FieldTable) -> String {
        match table.inner().get(header::UNPARSED) {
            Some(AMQPValue::LongString(note)) => note.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_id_that_is_not_text_is_noted_and_shown() {
        let payload = payload(FIRST_FLAG >> 8, b"\x05Gr\xfc\xdfe");
        assert!(!is_decodable(&payload, LARGE));
        let (properties, table) = taken(&fit(&payload));
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), r"Gr\xfc\xdfe");
        assert_eq!(note(&table), r"`message_id` is not UTF-8: Gr\xfc\xdfe");
    }

    #[test]
    fn names_of_headers_are_texts_at_every_level() {
        let mut inner = vec![b'F'];
        inner.extend(table(&[(b"\xe9", b"V")]));
        let fields = table(&[(b"caf\xe9", b"V"), (b"deep", &inner), (b"good", &text(b"\xff"))]);
        let payload = payload(TABLE_FLAG, &fields);
        let rewritten = fit(&payload);
        let (_properties, table) = taken(&rewritten);
        assert_eq!(
            note(&table),
            r"the name of a header is not UTF-8: caf\xe9; a name in header `deep` is not UTF-8: \xe9"
        );
        assert_eq!(table.inner()[r"caf\xe9"], AMQPValue::Void);
        assert_eq!(table.inner()["deep"], AMQPValue::Void);
        // A long string is bytes for the client as well.
        assert_eq!(table.inner()["good"], AMQPValue::LongString(vec![0xff].into()));
    }

    #[test]
    fn what_has_no_end_takes_nothing_else_with_it() {
        for properties in [
            [table(&[(b"x", b"?1234")]), vec![2]].concat(),
            [table(&[(b"x", b"S\xff\xff\xff\xff")]), vec![2]].concat(),
            [table(&[(b"x", b"V")]), vec![2, 3]].concat(),
            vec![0, 0, 1, 0, 2],
        ] {
            let payload = payload(TABLE_FLAG | FIRST_FLAG >> 3, &properties);
            assert!(!is_decodable(&payload, LARGE));
            let rewritten = fit(&payload);
            assert!(note(&taken(&rewritten).1).contains("cannot be read"), "{properties:?}");
        }
        assert!(rewritten(&[0; 13], 13, LARGE, Notes::default()).is_none());
    }

    #[test]
    fn headers_that_are_too_large_are_left_out_largest_first() {
        let large = text(&vec![b'x'; 300_000]);
        let fields = table(&[(b"large", &large), (b"small", &text(b"kept")), (b"one", b"t\x01")]);
        let payload = payload(TABLE_FLAG, &fields);
        let rewritten = fit(&payload);
        let (_properties, table) = taken(&rewritten);
        assert_eq!(table.inner()["large"], AMQPValue::Void);
        assert_eq!(table.inner()["small"], AMQPValue::LongString("kept".into()));
        assert_eq!(table.inner()["one"], AMQPValue::Boolean(true));
        assert!(!table.contains_key(header::UNPARSED));
        assert_eq!(rewritten.left_out, 300_004);
    }

    #[test]
    fn too_many_headers_are_noted() {
        let names: Vec<_> = (0..10_000).map(|number| format!("header-{number}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_bytes(), VOID)).collect();
        let payload = payload(TABLE_FLAG, &table(&fields));
        let rewritten = rewritten(&payload, payload.len(), 4_088, Notes::default()).unwrap();
        assert!(note(&taken(&rewritten).1).contains("too large or too many"));
        assert!(rewritten.payload.len() <= 4_088);
    }

    #[test]
    fn a_header_that_was_taken_in_part_only_says_how_large_it_was() {
        let mut properties = table(&[(b"large", &text(&vec![b'x'; 300_000]))]);
        properties.truncate(100);
        let payload = payload(TABLE_FLAG | FIRST_FLAG >> 8, &properties);
        let rewritten = rewritten(&payload, 300_050, LARGE, Notes::default()).unwrap();
        let (properties, table) = taken(&rewritten);
        assert_eq!(note(&table), "its headers are too large or too many (300050 bytes)");
        assert_eq!(*properties.message_id(), None);
    }

    #[test]
    fn values_within_too_many_values_are_left_out() {
        let nested =
            (0..20_000).fold(VOID.to_vec(), |inner, _| [b"A", &text(&inner)[1..]].concat());
        let payload = payload(TABLE_FLAG, &table(&[(b"nested", &nested)]));
        let rewritten = fit(&payload);
        assert_eq!(taken(&rewritten).1.inner()["nested"], AMQPValue::Void);
        assert_eq!(rewritten.left_out, nested.len());
    }
}
