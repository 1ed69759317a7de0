//! The body of a message for display: its bytes, and for JSON the same tokens indented. It is never
//! parsed and serialized, which would change numbers, the order of names, and duplicate names.

use std::fmt::Write;

use serde_json::value::RawValue;

use super::words;

/// Characters of a body that are shown, and bytes in hexadecimal beside their text: a page has both,
/// and should be small.
const MAX_CHARS: usize = 12 * 1_024;
const MAX_HEX: usize = 2 * 1_024;
/// JSON that is nested deeper than this is not indented.
const MAX_DEPTH: usize = 64;

/// A body for display.
pub(super) struct Body {
    /// Text unchanged, other bytes in hexadecimal.
    pub(super) text: String,
    /// A note on its form, or on what is not shown.
    pub(super) about: Option<String>,
    /// The same indented, if it is JSON and shown completely.
    pub(super) indented: Option<String>,
}

impl Body {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::within(bytes, MAX_CHARS)
    }

    /// The same with so many characters at most.
    pub(super) fn within(bytes: &[u8], max_chars: usize) -> Self {
        let Ok(text) = str::from_utf8(bytes) else {
            let shown = bytes.get(..max_chars / 3).unwrap_or(bytes);
            let hex = shown.iter().map(|byte| format!("{byte:02x}"));
            let text = hex.collect::<Vec<_>>().join(" ");
            let cut = if shown.len() < bytes.len() {
                let (part, whole) = (words::bytes(shown.len()), words::bytes(bytes.len()));
                format!("; the first {part} of {whole}")
            } else {
                String::new()
            };
            let about = Some(format!("not text; in hexadecimal{cut}"));
            return Self { text, about, indented: None };
        };
        let shown: String = text.chars().take(max_chars).collect();
        if shown.len() < text.len() {
            let (part, whole) = (words::bytes(shown.len()), words::bytes(text.len()));
            let about = Some(format!("the first {part} of {whole}"));
            return Self { text: shown, about, indented: None };
        }
        let indented = indented(text).filter(|indented| *indented != shown);
        Self { text: shown, about: None, indented }
    }
}

/// The first bytes of a body, sixteen a line: their offset, in hexadecimal, and as ASCII.
pub(super) fn hex(bytes: &[u8]) -> String {
    let shown = bytes.get(..MAX_HEX).unwrap_or(bytes);
    let mut lines = String::new();
    for (number, line) in shown.chunks(16).enumerate() {
        let digits = line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let text = line.iter().map(|byte| if matches!(byte, 0x20..0x7f) { *byte } else { b'.' });
        let text: String = text.map(char::from).collect();
        let _infallible = writeln!(lines, "{:08x}  {digits:<48} {text}", number.saturating_mul(16));
    }
    if shown.len() < bytes.len() {
        let (part, whole) = (words::bytes(shown.len()), words::bytes(bytes.len()));
        let _infallible = writeln!(lines, "the first {part} of {whole}");
    }
    lines
}

/// JSON with each value on a line of its own, token for token; `None`: it is not JSON.
fn indented(text: &str) -> Option<String> {
    let tokens = serde_json::from_str::<&RawValue>(text).ok()?.get();
    let (mut shown, mut depth) = (String::with_capacity(text.len()), 0_usize);
    let (mut in_string, mut is_escaped, mut is_new) = (false, false, false);
    let begin_line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.extend(std::iter::repeat_n("  ", depth));
    };
    for c in tokens.chars() {
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            shown.push(c);
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        if matches!(c, '}' | ']') {
            depth = depth.saturating_sub(1);
            if !is_new {
                begin_line(&mut shown, depth);
            }
        } else if is_new {
            begin_line(&mut shown, depth);
        }
        is_new = matches!(c, '{' | '[');
        in_string = c == '"';
        shown.push(c);
        match c {
            '{' | '[' if depth >= MAX_DEPTH => return None,
            '{' | '[' => depth = depth.saturating_add(1),
            ',' => begin_line(&mut shown, depth),
            ':' => shown.push(' '),
            _ => {}
        }
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_unchanged() {
        for text in ["{\"a\":1}", "plain", "", "{\"b\":1.50,\"a\":1e400,\"a\":2}", "{\r\n}"] {
            assert_eq!(Body::of(text.as_bytes()).text, text);
        }
        assert!(Body::of(b"plain").indented.is_none());
        let body = Body::of(&[0xff, 0x00]);
        assert_eq!(body.text, "ff 00");
        assert_eq!(body.about.as_deref(), Some("not text; in hexadecimal"));
        let body = Body::of(&vec![0xff; MAX_CHARS]);
        let about = body.about.expect("it is cut");
        assert!(about.contains("the first 4.0 kB of 12.2 kB"), "{about}");
        let long = "ä".repeat(MAX_CHARS + 1);
        let body = Body::of(long.as_bytes());
        assert_eq!(body.text.chars().count(), MAX_CHARS);
        assert!(body.about.is_some());
    }

    #[test]
    fn bytes_are_shown_beside_their_text() {
        insta::assert_snapshot!(hex("{\"a\":\"ä\"}\r\n 0123456789".as_bytes()), @r#"
        00000000  7b 22 61 22 3a 22 c3 a4 22 7d 0d 0a 20 30 31 32  {"a":".."}.. 012
        00000010  33 34 35 36 37 38 39                             3456789
        "#);
        assert_eq!(hex(b""), "");
        assert!(hex(&[0; 4_000]).ends_with("the first 2.0 kB of 4.0 kB\n"));
    }

    #[test]
    fn json_is_indented_token_for_token() {
        let json = r#" {"b":1.50, "a":1e400,"a":[],"c":{},"d":[1,{"\"{,":"\\"}],"e":"\ud83d"}"#;
        insta::assert_snapshot!(indented(json).unwrap(), @r#"
        {
          "b": 1.50,
          "a": 1e400,
          "a": [],
          "c": {},
          "d": [
            1,
            {
              "\"{,": "\\"
            }
          ],
          "e": "\ud83d"
        }
        "#);
        assert_eq!(indented("{\"a\":}"), None);
        assert_eq!(indented(&"[".repeat(100_000)), None);
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(indented(&deep), None);
    }
}
