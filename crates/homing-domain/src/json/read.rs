//! From a text to the index of its values: one pass, a stack of its own, no recursion.

use super::{Kind, Node};

/// Maximum of values and names of a document. A body of 1 MiB has fewer; a larger one with more
/// consists of nothing else, and costs more than an event may.
const MAX_NODES: usize = 1_000_000;

const MARK: &str = "\u{feff}";

/// Errors of reading JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It ends within a value.
    #[error("it is not JSON: it ends too early")]
    EndsEarly,
    /// Something unexpected in place of a value or a part of one.
    #[error("it is not JSON: something else at byte {at}")]
    Unexpected {
        /// The offset in bytes, from 0.
        at: usize,
    },
    /// It has too many values.
    #[error("it has more than {max} values", max = MAX_NODES)]
    TooMany,
}

/// The index of `text`.
pub(super) fn index(text: &str) -> Result<Vec<Node>, JsonError> {
    let at = if text.starts_with(MARK) { MARK.len() } else { 0 };
    let reader = Reader { bytes: text.as_bytes(), at, nodes: Vec::new(), open: Vec::new() };
    // Larger than any event can be.
    if u32::try_from(text.len()).is_err() { Err(JsonError::TooMany) } else { reader.document() }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The containers around the next value, the innermost last.
    open: Vec<usize>,
}

impl Reader<'_> {
    fn document(mut self) -> Result<Vec<Node>, JsonError> {
        loop {
            self.blanks();
            if !self.value()? {
                continue;
            }
            while self.ends_container()? {}
            if self.open.is_empty() {
                break;
            }
        }
        if self.peek().is_none() { Ok(self.nodes) } else { Err(self.error()) }
    }

    /// After a value: closes its container, or continues with the next part.
    fn ends_container(&mut self) -> Result<bool, JsonError> {
        self.blanks();
        let Some(container) = self.open.last().copied() else { return Ok(false) };
        let is_object = self.nodes.get(container).is_some_and(|node| node.kind == Kind::Object);
        match (self.peek(), is_object) {
            (Some(b','), _) => {
                self.skip();
                self.blanks();
                if is_object {
                    self.name()?;
                }
                Ok(false)
            }
            (Some(b'}'), true) | (Some(b']'), false) => {
                self.skip();
                self.open.pop();
                self.close(container);
                Ok(true)
            }
            (_, _) => Err(self.error()),
        }
    }

    /// A value; `false`: the beginning of a container that has parts.
    fn value(&mut self) -> Result<bool, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string().map(|()| true)?,
            Some(b'{') => return self.container(Kind::Object, b'}'),
            Some(b'[') => return self.container(Kind::List, b']'),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.push(Kind::Number, start).map(|_| true)?
            }
            Some(b't') => self.word("true", Kind::Bool)?,
            Some(b'f') => self.word("false", Kind::Bool)?,
            Some(b'n') => self.word("null", Kind::Null)?,
            Some(_) | None => return Err(self.error()),
        };
        Ok(true)
    }

    fn container(&mut self, kind: Kind, end: u8) -> Result<bool, JsonError> {
        let start = self.at;
        self.skip();
        let container = self.push(kind, start)?;
        self.blanks();
        if self.peek() == Some(end) {
            self.skip();
            self.close(container);
            return Ok(true);
        }
        self.open.push(container);
        if kind == Kind::Object {
            self.name()?;
        }
        Ok(false)
    }

    /// The name of a field, and the colon.
    fn name(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error());
        }
        self.string()?;
        self.blanks();
        self.expect(b':')
    }

    fn string(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.skip();
        loop {
            match self.peek() {
                Some(b'"') => break self.skip(),
                Some(b'\\') => {
                    self.skip();
                    self.escape()?;
                }
                Some(0..0x20) | None => return Err(self.error()),
                Some(_) => self.skip(),
            }
        }
        self.push(Kind::Text, start).map(drop)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.skip(),
            Some(b'u') => {
                self.skip();
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.error());
                    }
                    self.skip();
                }
            }
            Some(_) | None => return Err(self.error()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.skip();
        }
        if self.peek() == Some(b'0') {
            self.skip();
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.skip();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.skip();
            if let Some(b'+' | b'-') = self.peek() {
                self.skip();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
        if !is_digit(self.peek()) {
            return Err(self.error());
        }
        while is_digit(self.peek()) {
            self.skip();
        }
        Ok(())
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<bool, JsonError> {
        let start = self.at;
        for byte in word.bytes() {
            self.expect(byte)?;
        }
        self.push(kind, start).map(|_| true)
    }

    /// Adds a value that begins at `start` and ends here; a container ends later.
    fn push(&mut self, kind: Kind, start: usize) -> Result<usize, JsonError> {
        let at = self.nodes.len();
        if at >= MAX_NODES {
            return Err(JsonError::TooMany);
        }
        let next = narrow(at.saturating_add(1));
        self.nodes.push(Node { kind, start: narrow(start), end: narrow(self.at), next });
        Ok(at)
    }

    fn close(&mut self, container: usize) {
        let (end, next) = (narrow(self.at), narrow(self.nodes.len()));
        if let Some(node) = self.nodes.get_mut(container) {
            (node.end, node.next) = (end, next);
        }
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.skip();
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == Some(byte) {
            self.skip();
            Ok(())
        } else {
            Err(self.error())
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn error(&self) -> JsonError {
        if self.at < self.bytes.len() {
            JsonError::Unexpected { at: self.at }
        } else {
            JsonError::EndsEarly
        }
    }
}

/// Lossless within a document, whose size is limited.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_json_has_its_position() {
        for (text, at) in [
            ("{\"a\": 1,}", 8),
            ("[1 2]", 3),
            ("01", 1),
            ("1.", 2),
            ("\"a\nb\"", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 5),
            ("nil", 1),
            ("{a: 1}", 1),
            ("1 1", 2),
            ("[}", 1),
            ("name=x", 1),
        ] {
            let unexpected =
                if at < text.len() { JsonError::Unexpected { at } } else { JsonError::EndsEarly };
            assert_eq!(index(text).map(|nodes| nodes.len()), Err(unexpected), "{text}");
        }
        for text in ["", " ", "\u{feff}", "{", "[1,", "\"a", "-", "tru", "{\"a\":"] {
            assert_eq!(index(text).map(|nodes| nodes.len()), Err(JsonError::EndsEarly), "{text}");
        }
    }

    #[test]
    fn more_values_than_an_event_may_have_are_refused() {
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(index(&zeros(MAX_NODES - 1)).map(|nodes| nodes.len()), Ok(MAX_NODES));
        assert_eq!(index(&zeros(MAX_NODES)).map(|nodes| nodes.len()), Err(JsonError::TooMany));
    }
}
