//! Notes on what had to be changed in a message, in words.

use super::wire::escaped;

/// Bytes that are shown of a value that is not a short string.
const MAX_SHOWN_BYTES: usize = 256;

/// One clause for each change; empty if there was none.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes that these bytes of `what` are not UTF-8.
    pub(super) fn not_utf8(&mut self, what: &str, bytes: &[u8]) {
        self.0.push(format!("{what} is not UTF-8: {}", escaped(bytes)));
    }

    /// Notes that the end of `what` is not known.
    pub(super) fn broken(&mut self, what: &str, bytes: &[u8]) {
        let shown = bytes.get(..MAX_SHOWN_BYTES).unwrap_or(bytes);
        let more = if shown.len() < bytes.len() { " …" } else { "" };
        self.0.push(format!("{what} cannot be read: {}{more}", escaped(shown)));
    }

    /// Notes that there is no room for the headers.
    pub(super) fn too_large(&mut self, bytes: usize) {
        self.0.push(format!("its headers are too large or too many ({bytes} bytes)"));
    }

    /// All notes in at most `max_bytes` bytes; `None`: there are none.
    pub(super) fn text(&self, max_bytes: usize) -> Option<String> {
        const MORE: &str = " …";
        if self.is_empty() {
            return None;
        }
        let whole = self.0.join("; ");
        if whole.len() <= max_bytes {
            return Some(whole);
        }
        let room = max_bytes.saturating_sub(MORE.len());
        let cut: String = whole
            .char_indices()
            .take_while(|(at, character)| at.saturating_add(character.len_utf8()) <= room)
            .map(|(_at, character)| character)
            .collect();
        Some(cut + MORE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded() {
        let mut notes = Notes::default();
        assert_eq!(notes.text(10), None);
        notes.broken("header `x`", &[0xff; 1_000]);
        notes.not_utf8("`message_id`", b"caf\xe9");
        assert!(notes.text(10_000).unwrap().ends_with(r"…; `message_id` is not UTF-8: caf\xe9"));
        assert!(notes.text(100).unwrap().len() <= 100);
    }
}
