//! Reads and writes the types of AMQP 0-9-1, without trusting a byte.

/// The bytes that are left to read.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// The next `length` bytes; `None`: there are fewer.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    pub(super) fn octet(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// The bytes of a short string: at most 255, which have to be UTF-8.
    pub(super) fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.take(usize::from(length))
    }

    /// Bytes preceded by their length in four bytes: a long string, a table, a list.
    pub(super) fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = self.long()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// One value of a table, with its type; `None` if its end is not known.
    ///
    /// Types are those that lapin knows, which follow RabbitMQ and not the specification.
    /// Source: RabbitMQ, *AMQP 0-9-1 Errata*, field types; amq-protocol-types, `AMQPType::from_id`.
    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        let from = *self;
        let length = match self.octet()? {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'S' | b'x' | b'A' | b'F' => usize::try_from(self.long()?).ok()?,
            _ => return None,
        };
        self.take(length)?;
        from.0.get(..from.0.len().checked_sub(self.0.len())?)
    }
}

/// Returns true if a short string is UTF-8. Most are ASCII, which is checked many bytes at a time.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// A defect because of which the client cannot decode a value, a table or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect<'a> {
    /// The end of something in it is not known.
    Broken,
    /// More levels than the stack of the client's thread may have to bear.
    TooDeep,
    /// A name in it is not UTF-8.
    Name(&'a [u8]),
}

/// Levels of tables and lists within a header. The client recurses into each, and a publisher may
/// put 26,000 of them into one frame.
pub(super) const MAX_LEVELS: u32 = 32;

/// Checks that the client can decode this value, which has its type in front.
pub(super) fn check_value(value: &[u8], levels: u32) -> Result<(), Defect<'_>> {
    let mut cursor = Cursor(value);
    match cursor.octet() {
        Some(b'A') => {
            let deeper = levels.checked_sub(1).ok_or(Defect::TooDeep)?;
            let mut items = Cursor(cursor.long_string().ok_or(Defect::Broken)?);
            while !items.0.is_empty() {
                check_value(items.value().ok_or(Defect::Broken)?, deeper)?;
            }
            Ok(())
        }
        Some(b'F') => {
            let deeper = levels.checked_sub(1).ok_or(Defect::TooDeep)?;
            check_table(cursor.long_string().ok_or(Defect::Broken)?, deeper)
        }
        _ => Ok(()),
    }
}

/// Checks that the client can decode a table with this content.
pub(super) fn check_table(content: &[u8], levels: u32) -> Result<(), Defect<'_>> {
    let mut fields = Cursor(content);
    while !fields.0.is_empty() {
        let name = fields.short_string().ok_or(Defect::Broken)?;
        if !is_text(name) {
            return Err(Defect::Name(name));
        }
        check_value(fields.value().ok_or(Defect::Broken)?, levels)?;
    }
    Ok(())
}

/// Writes a short string, truncated between two characters if it is too long.
pub(super) fn put_short_string(into: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len().min(usize::from(u8::MAX));
    while length < text.len()
        && length > 0
        && text.get(length).is_some_and(|byte| is_continuation(*byte))
    {
        length = length.saturating_sub(1);
    }
    into.push(u8::try_from(length).unwrap_or(u8::MAX));
    into.extend(text.iter().take(length));
}

/// Returns true if a character of UTF-8 began before this byte.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Writes bytes preceded by their length in four bytes.
pub(super) fn put_long_string(into: &mut Vec<u8>, content: &[u8]) {
    into.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(content);
}

/// Escapes `bytes` reversibly: what is not UTF-8 as `\xff`, a backslash as `\\`.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                plain => text.push(plain),
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!(r"\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_escaped() {
        assert_eq!(escaped("Grüße".as_bytes()), "Grüße");
        assert_eq!(escaped(b"Gr\xfc\xdfe"), r"Gr\xfc\xdfe");
        assert_eq!(escaped(br"C:\x"), r"C:\\x");
    }

    #[test]
    fn a_short_string_is_cut_between_two_characters() {
        let mut written = Vec::new();
        put_short_string(&mut written, "€".repeat(86).as_bytes());
        assert_eq!(written[0], 255);
        put_short_string(&mut written, format!("x{}", "€".repeat(86)).as_bytes());
        assert_eq!(written[256], 253);
        assert_eq!(written.len(), 256 + 254);
    }

    #[test]
    fn a_value_is_as_long_as_its_type_says() {
        let value = |bytes| Cursor(bytes).value();
        assert_eq!(value(b"Vx"), Some(&b"V"[..]));
        assert_eq!(value(b"S\0\0\0\x02abc"), Some(&b"S\0\0\0\x02ab"[..]));
        assert_eq!(value(b"S\0\0\0\x04abc"), None);
        assert_eq!(value(b"I\0\0\0"), None);
        assert_eq!(value(b"?\0\0\0"), None);
        assert_eq!(value(b""), None);
    }

    #[test]
    fn what_is_nested_too_deeply_is_found() {
        let nested = |levels: u32| {
            (0..levels).fold(b"V".to_vec(), |inner, _| {
                let mut list = vec![b'A'];
                put_long_string(&mut list, &inner);
                list
            })
        };
        assert_eq!(check_value(&nested(MAX_LEVELS), MAX_LEVELS), Ok(()));
        assert_eq!(check_value(&nested(MAX_LEVELS + 1), MAX_LEVELS), Err(Defect::TooDeep));
    }
}
