//! Output for operators: errors on one line, with all their causes; durations; suggested commands;
//! and foreign text that cannot control a terminal.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write},
    time::Duration,
};

/// Displays `outer: cause: root` on one line.
///
/// Skips a cause whose text the previous one already ends with: some libraries print their source
/// inside their own message.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        f.write_str(&text)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                write!(f, ": {next}")?;
            }
            text = next;
            cause = error.source();
        }
        Ok(())
    }
}

/// An error of serde's in the words of JSON, without the names of types in the code: `expected
/// struct Draft` becomes `expected an object`.
#[must_use]
pub fn without_types(message: &str) -> Cow<'_, str> {
    const KINDS: [(&str, &str); 5] = [
        ("expected struct ", "expected an object"),
        ("expected struct variant ", "expected an object"),
        ("expected enum ", "expected a string"),
        ("expected a map", "expected an object"),
        ("expected a sequence", "expected a list"),
    ];
    let found = KINDS.iter().rev().find_map(|(kind, plain)| {
        let (before, after) = message.rsplit_once(kind)?;
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '<' | '>');
        Some(format!("{before}{plain}{}", after.trim_start_matches(is_name)))
    });
    found.map_or(Cow::Borrowed(message), Cow::Owned)
}

/// `250 ms`, `5 s`, `1 min 25 s`, `48 h 13 min`: rounded to what matters at that size.
#[must_use]
pub fn duration(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3_600;
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let seconds = millis.saturating_add(500) / 1_000;
    let minutes = millis.saturating_add(30_000) / (MINUTE * 1_000);
    if millis < 1_000 {
        format!("{millis} ms")
    } else if millis < 10_000 && millis % 1_000 >= 100 {
        format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
    } else if seconds < MINUTE {
        format!("{seconds} s")
    } else if seconds < HOUR {
        parts((seconds / MINUTE, "min"), (seconds % MINUTE, "s"))
    } else {
        parts((minutes / MINUTE, "h"), (minutes % MINUTE, "min"))
    }
}

fn parts((large, large_unit): (u64, &str), (small, small_unit): (u64, &str)) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// `text` on one line, without terminal control and without hidden characters: control characters,
/// including ends of lines, marks that change the direction of text, and invisible ones are escaped
/// as in `\n` and `\u{1b}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, |c, text| text.extend(c.escape_default()))
}

/// As [`visible`], over several lines: line ends and tabs stay.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| is_hidden(c) && !matches!(c, '\n' | '\t');
    escaped(text, is_hidden, |c, text| text.extend(c.escape_default()))
}

/// As [`visible`], for a JSON document, without changing its content. There such characters can
/// only be in strings, where they may be written as `\u009b` as well. Source: RFC 8259, section 7.
#[must_use]
pub fn visible_json(document: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| is_hidden(c) && !matches!(c, '\n' | '\r' | '\t');
    escaped(document, is_hidden, |c, text| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a `String` does not fail.
            write!(text, "\\u{unit:04x}").unwrap_or_default();
        }
    })
}

fn escaped(
    text: &str,
    is_hidden: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    if !text.chars().any(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().saturating_mul(2));
    for c in text.chars() {
        if is_hidden(c) {
            escape(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// True if `c` may control a terminal, or be invisible.
///
/// Source: Unicode 17, `PropList.txt` (`Bidi_Control`) and `DerivedCoreProperties.txt`
/// (`Default_Ignorable_Code_Point`); and the general categories Cc, Zl and Zp.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A word as a shell reads it, on one line.
///
/// Source: bash(1), *QUOTING*; zsh reads the same. dash reads a word with control characters
/// wrongly, but as one word: there is no quote in it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_' | '=');
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(plain) {
        return word.to_owned();
    }
    if !word.contains(char::is_control) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let escaped = word.chars().map(|c| match c {
        '\\' => r"\\".to_owned(),
        c if c == '\'' || c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("$'{}'", escaped.collect::<String>())
}

/// Appends an option to `command`, safe to run, whatever its value begins with.
#[must_use]
pub fn with_option(command: &str, name: &str, value: &str) -> String {
    if value.starts_with('-') {
        return format!("{command} {}", quoted(&format!("{name}={value}")));
    }
    format!("{command} {name} {}", quoted(value))
}

/// Appends an operand to `command`, safe to run, whatever it begins with. Options come before it.
#[must_use]
pub fn with_operand(command: &str, operand: &str) -> String {
    let ends_options = if operand.starts_with('-') { "-- " } else { "" };
    format!("{command} {ends_options}{}", quoted(operand))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("root")]
    struct Root;

    #[derive(Debug, thiserror::Error)]
    #[error("middle: {0}")]
    struct Repeating(#[source] Root);

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Repeating);

    #[test]
    fn every_cause_is_shown_once() {
        assert_eq!(Chain(&Outer(Repeating(Root))).to_string(), "outer: middle: root");
    }

    /// All of them, between letters that stay.
    fn hostile() -> String {
        let hidden =
            (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| is_hidden(*c));
        format!("a{}é – …", hidden.collect::<String>())
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let all = hostile();
        let controls = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
        let marks = ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{2028}', '\u{e0041}'];
        for c in controls.chain(marks) {
            assert!(all.contains(c), "{c:?} is one of them");
        }
        assert!(!visible(&all).chars().any(is_hidden));
        assert!(!visible_lines(&all).chars().any(|c| is_hidden(c) && !matches!(c, '\n' | '\t')));
        let text = "it's \"fine\": ä, 中文, é – … 🎉\u{a0}\\";
        assert_eq!(visible(text), text);
        let text = visible("a\u{1b}]0;x\u{7}\r\nb\tc\u{9b}\u{202e}");
        assert_eq!(text, r"a\u{1b}]0;x\u{7}\r\nb\tc\u{9b}\u{202e}");
        assert_eq!(visible_lines("a\n\tb\rc"), "a\n\tb\\rc");
    }

    #[test]
    fn a_document_says_what_it_said() {
        let document = serde_json::json!({ hostile(): [hostile()] });
        for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
            let shown = visible_json(&text);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        assert_eq!(quoted("https://example.com:8443/a-b_c"), "https://example.com:8443/a-b_c");
        assert_eq!(quoted("https://example.com/?a=1&b=2"), "'https://example.com/?a=1&b=2'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn advised_commands_survive_whatever_an_id_is_made_of() {
        let ids = [
            "-x",
            "--all",
            "a b",
            "it's",
            "\"$(reboot)`",
            "a\nb\u{1b}[31m",
            "\u{9b}2J",
            "日本",
            "=x",
            "\\'\n",
            "!!",
            "#",
            "~",
        ];
        for id in ids {
            let option = format!("--event={id}");
            let (as_option, as_operand) = if id.starts_with('-') {
                (vec![&*option], vec!["--", id])
            } else {
                (vec!["--event", id], vec![id])
            };
            assert_eq!(read_by_bash(&with_option("p", "--event", id)), as_option);
            assert_eq!(read_by_bash(&with_operand("p", id)), as_operand);
        }
    }

    /// The arguments of the command `p`.
    fn read_by_bash(command: &str) -> Vec<String> {
        assert!(!command.contains(char::is_control), "{command:?}");
        let script = format!("p() {{ printf '%s\\0' \"$@\"; }}; {command}");
        let mut bash = std::process::Command::new("bash");
        bash.args(["--norc", "-c", &script]).env("LC_ALL", "C.UTF-8");
        let read = String::from_utf8(bash.output().unwrap().stdout).unwrap();
        read.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
    }
}
