//! Failed attempts grouped by what failed: at which URL, with which outcome and which text.
//!
//! The text is the first line of the answer, or the cause; what differs from attempt to attempt
//! (numbers, ids, addresses) is replaced by `#`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    record::{AttemptEvent, Attempted, Class, Record, RecordId},
    time::UnixMillis,
};

/// Characters of a text.
const MAX_CHARS: usize = 200;
/// The outcome of errors that are counted together.
const OTHERS: &str = "other errors";
/// A word as long as this is an id, if it has letters of both cases.
const MIN_TOKEN_CHARS: usize = 20;
/// A word as long as this is an id, if it is hexadecimal.
const MIN_HEX_CHARS: usize = 8;

/// The features that distinguish a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The URL of the attempts.
    pub url: String,
    /// The class of their outcome.
    pub class: Class,
    /// Their outcome, for example `refused 503`.
    pub outcome: String,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// The text, without what differs.
    pub text: String,
}

/// The id of a kind, which a store computes by its key: the same wherever that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorId([u8; 16]);

impl ErrorId {
    /// The id with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ErrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl Serialize for ErrorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ErrorId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The text is not the id of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of an error is 32 hexadecimal digits")]
pub struct ErrorIdError;

impl FromStr for ErrorId {
    type Err = ErrorIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or(ErrorIdError)
    }
}

/// Failed attempts of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    /// Their common features.
    pub kind: Kind,
    /// Their number.
    pub count: u64,
    /// The start of the first.
    pub first: UnixMillis,
    /// The start of the last.
    pub last: UnixMillis,
    /// The last of them.
    pub example: RecordId,
}

impl Kind {
    /// The kind of a failed attempt; `None`: it did not fail, or there was none.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let AttemptEvent::Attempted(attempted) = &record.happened else { return None };
        if !Class::FAILED.contains(&attempted.class) {
            return None;
        }
        // The reason of a handler is a text, too.
        let (outcome, why) = match attempted.outcome.split_once(": ") {
            Some((outcome, why)) => (outcome, Some(why)),
            None => (attempted.outcome.as_str(), None),
        };
        Some(Self {
            url: record.url.clone()?,
            class: attempted.class,
            outcome: outcome.to_owned(),
            status: attempted.status,
            text: normalised(&text(attempted, why)),
        })
    }
}

impl Kind {
    /// The kind of the errors of this URL and class that are too many to be counted apart.
    #[must_use]
    pub fn other(&self) -> Self {
        Self {
            outcome: OTHERS.to_owned(),
            status: None,
            text: String::new(),
            url: self.url.clone(),
            class: self.class,
        }
    }

    /// True if it is the kind of those that are too many to be counted apart.
    #[must_use]
    pub fn is_other(&self) -> bool {
        self.outcome == OTHERS
    }
}

impl ErrorGroup {
    /// A group of one attempt, the one with this record.
    #[must_use]
    pub fn new(kind: Kind, example: RecordId) -> Self {
        let started = example.started();
        Self { kind, count: 1, first: started, last: started, example }
    }

    /// Adds another attempt.
    pub fn add(&mut self, example: RecordId) {
        self.count = self.count.saturating_add(1);
        self.example = self.example.max(example);
        self.first = self.first.min(example.started());
        self.last = self.last.max(example.started());
    }

    /// Adds all attempts of another group.
    pub fn add_all(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.example = self.example.max(other.example);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// The title of a page, or the first line of the answer that is not empty, or the cause.
fn text(attempted: &Attempted, why: Option<&str>) -> String {
    let response = String::from_utf8_lossy(&attempted.response);
    let title = response.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.map(|(title, _)| title.trim()).filter(|title| !title.is_empty());
    let mut lines = response.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = title.or_else(|| lines.next()).or(why).or(attempted.cause.as_deref());
    text.unwrap_or_default().chars().take(MAX_CHARS).collect()
}

/// Replaces what differs from attempt to attempt by `#`, and what cannot be seen by blanks.
fn normalised(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "-_.:@+%/".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        if is_word(first) {
            shown.push_str(&word(part));
        } else {
            shown.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        rest = behind;
    }
    shown
}

/// A word, with each part that varies replaced; a run of these is one.
fn word(word: &str) -> String {
    let is_mail =
        word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    if is_mail || is_uuid(word) {
        return "#".to_owned();
    }
    let mut shown = String::with_capacity(word.len());
    let mut separator = None;
    for part in word.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let name = part.trim_end_matches(|c: char| !c.is_alphanumeric());
        let behind = part.get(name.len()..).unwrap_or_default();
        let varies = varies(name);
        // As in 10.0.0.1.
        let goes_on = varies && shown.ends_with('#') && separator.is_some();
        if !goes_on {
            shown.push_str(separator.take().unwrap_or_default());
            shown.push_str(if varies { "#" } else { name });
        }
        separator = (!behind.is_empty()).then_some(behind);
    }
    shown.push_str(separator.unwrap_or_default());
    shown
}

fn varies(name: &str) -> bool {
    let chars = name.chars().count();
    let has_both = name.contains(char::is_lowercase) && name.contains(char::is_uppercase);
    name.contains(|c: char| c.is_ascii_digit())
        || (chars >= MIN_HEX_CHARS && name.chars().all(|c| c.is_ascii_hexdigit()))
        || (chars >= MIN_TOKEN_CHARS && has_both)
}

/// Source: RFC 9562, section 4.
fn is_uuid(word: &str) -> bool {
    const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let parts = word.split('-').map(|part| {
        let is_hex = part.chars().all(|c| c.is_ascii_hexdigit());
        if is_hex { part.len() } else { 0 }
    });
    parts.eq(LENGTHS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{payload::PayloadState, record::NextState};
    use proptest::prelude::*;

    #[test]
    fn what_differs_from_attempt_to_attempt_is_replaced() {
        let text = [
            "no such order 4711",
            "order o-7 is gone",
            "trace 01a1fe0d-abcd-73d1-fade-0c229fa06364 failed",
            "connect to 10.0.0.1:8080 refused",
            "unknown user ann.lee@example.com!",
            r#"{"error":"busy","request_id":"req_8fK2","at":"2026-11-29T12:00:00Z"}"#,
            "sha deadbeefcafe, token aVeryLongTokenOfLetters",
            "Internal Server Error",
            "a\u{1b}[31mred",
            "zu groß: 5 MB",
            "",
        ]
        .map(normalised)
        .join("\n");
        insta::assert_snapshot!(text, @r##"
        no such order #
        order o-# is gone
        trace # failed
        connect to # refused
        unknown user #!
        {"error":"busy","request_id":"req_#","at":"#"}
        sha #, token #
        Internal Server Error
        a [#
        zu groß: # MB
        "##);
    }

    #[test]
    fn an_id_is_written_and_read() {
        let id = ErrorId::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "1", "+0000000000000000000000000000001", "g0000000000000000000000000000001"]
        {
            assert_eq!(wrong.parse::<ErrorId>(), Err(ErrorIdError), "{wrong}");
        }
    }

    fn record(outcome: &str, class: Class, response: &str, cause: Option<&str>) -> Record {
        let attempted = Attempted {
            attempt: 1,
            duration: Duration::ZERO,
            class,
            outcome: outcome.to_owned(),
            status: None,
            response: response.as_bytes().to_vec(),
            cut: false,
            cause: cause.map(str::to_owned),
        };
        Record {
            id: RecordId::floor(UnixMillis::new(1)),
            event: "e".to_owned(),
            topic: "t".to_owned(),
            recipient: None,
            url: Some("https://a.example/".to_owned()),
            step: 0,
            replays: 0,
            order: None,
            happened: AttemptEvent::Attempted(attempted),
            next_state: NextState::Done,
            hold: None,
            turn: None,
            as_of: None,
            payload: PayloadState::Unwanted,
        }
    }

    #[test]
    fn the_text_is_the_title_the_first_line_or_the_cause() {
        let text = |outcome, response, cause| {
            let kind = Kind::of(&record(outcome, Class::Refused, response, cause));
            kind.map(|kind| (kind.outcome, kind.text)).unwrap()
        };
        let page = "<!DOCTYPE html>\n<html><title> 502 Bad Gateway </title>";
        let is = |outcome: &str, text: &str| (outcome.to_owned(), text.to_owned());
        assert_eq!(text("refused 502", page, None), is("refused 502", "# Bad Gateway"));
        assert_eq!(text("refused 503", "\n busy \nnow", Some("x")), is("refused 503", "busy"));
        assert_eq!(text("unreachable dns", "", Some("no name")), is("unreachable dns", "no name"));
        assert_eq!(text("failed: no order 7", "", None), is("failed", "no order #"));
        assert_eq!(Kind::of(&record("accepted 200", Class::Accepted, "ok", None)), None);
    }

    proptest! {
        #[test]
        fn texts_that_differ_in_numbers_alone_are_equal(text in "\\PC{0,60}", number in any::<u64>()) {
            let with = |number: u64| normalised(&format!("{text} {number} end"));
            prop_assert_eq!(with(number), with(7));
        }
    }
}
