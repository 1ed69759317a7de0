//! Decodes strings of JSON.

use std::{borrow::Cow, str::Chars};

/// Decodes what is between the quotes of `raw`; a surrogate without its other half is U+FFFD.
pub(super) fn decoded(raw: &str) -> Cow<'_, str> {
    let within = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    if !within.contains('\\') {
        return Cow::Borrowed(within);
    }
    let mut text = String::with_capacity(within.len());
    let mut rest = within.chars();
    while let Some(character) = rest.next() {
        text.push(if character == '\\' { escaped(&mut rest) } else { character });
    }
    Cow::Owned(text)
}

/// The character after a backslash.
fn escaped(rest: &mut Chars<'_>) -> char {
    match rest.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => unit_or_pair(rest),
        Some(character) => character,
        None => char::REPLACEMENT_CHARACTER,
    }
}

/// The character of `uXXXX`, or of two of them. Source: RFC 8259, section 7.
fn unit_or_pair(rest: &mut Chars<'_>) -> char {
    let first = unit(rest);
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
    }
    let mut ahead = rest.clone();
    if (ahead.next(), ahead.next()) != (Some('\\'), Some('u')) {
        return char::REPLACEMENT_CHARACTER;
    }
    let second = unit(&mut ahead);
    if !(0xdc00..0xe000).contains(&second) {
        return char::REPLACEMENT_CHARACTER;
    }
    *rest = ahead;
    let (high, low) = (first.saturating_sub(0xd800), second.saturating_sub(0xdc00));
    let number = high.saturating_mul(0x400).saturating_add(low).saturating_add(0x1_0000);
    char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Four hexadecimal digits.
fn unit(rest: &mut Chars<'_>) -> u32 {
    let digits = rest.by_ref().take(4).map(|digit| digit.to_digit(16).unwrap_or(0));
    digits.fold(0, |unit, digit| unit.saturating_mul(16).saturating_add(digit))
}
