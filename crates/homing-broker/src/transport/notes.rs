//! What of a message could not be given to the client as it came, in words.

use super::wire::escaped;

/// So much of a value is shown that is no short string.
const MAX_SHOWN_BYTES: usize = 256;

/// One clause for each thing; empty where all came as it was sent.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `what` is a text, and these bytes are none.
    pub(super) fn not_utf8(&mut self, what: &str, bytes: &[u8]) {
        self.0.push(format!("{what} is not UTF-8: {}", escaped(bytes)));
    }

    /// Where `what` ends is not known.
    pub(super) fn broken(&mut self, what: &str, bytes: &[u8]) {
        let shown = bytes.get(..MAX_SHOWN_BYTES).unwrap_or(bytes);
        let more = if shown.len() < bytes.len() { " …" } else { "" };
        self.0.push(format!("{what} cannot be read: {}{more}", escaped(shown)));
    }

    /// There is no room for so many headers.
    pub(super) fn too_large(&mut self, bytes: usize) {
        self.0.push(format!("its headers are too large or too many ({bytes} bytes)"));
    }

    /// All of it in at most `max_bytes` bytes; `None`: there is nothing to tell.
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
    fn what_is_told_has_a_bound() {
        let mut notes = Notes::default();
        assert_eq!(notes.text(10), None);
        notes.broken("header `x`", &[0xff; 1_000]);
        notes.not_utf8("`message_id`", b"caf\xe9");
        assert!(notes.text(10_000).unwrap().ends_with(r"…; `message_id` is not UTF-8: caf\xe9"));
        assert!(notes.text(100).unwrap().len() <= 100);
    }
}
