//! Instants of a search: exact ones, and those that count back from now.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use super::{
    fields::{Fields, Wrong},
    words,
};
use homing_domain::{clock, time::UnixMillis};

/// The instant of a field, as a browser's field or an operator writes it, in UTC:
/// `2026-11-21T14:35`, with seconds or not, or `2h` for two hours ago. Source: HTML Living Standard,
/// 2.3.5.5 (valid local date and time string).
pub(super) fn instant(fields: &Fields, name: &str, wrong: &mut Wrong) -> Option<UnixMillis> {
    let text = fields.given(name)?;
    let found = ago(text).map(|ago| clock::now().minus(ago)).or_else(|| exact(text));
    if found.is_none() {
        wrong.add(
            name,
            "write it as 2026-11-21T14:35, in UTC, or as 2h for two hours ago".to_owned(),
        );
    }
    found
}

/// The same without the form that counts back: one that means the same whenever it is read.
pub(super) fn fixed(fields: &Fields, name: &str, wrong: &mut Wrong) -> Option<UnixMillis> {
    let found = exact(fields.given(name)?);
    if found.is_none() {
        wrong.add(name, "write it as 2026-11-21T14:35, in UTC".to_owned());
    }
    found
}

/// `15m`, `2h`, `7d`
fn ago(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(ago).ok()
}

fn exact(text: &str) -> Option<UnixMillis> {
    let local = text.trim_end_matches('Z');
    let seconds = match (local.contains('T'), local.matches(':').count()) {
        (false, _) => "T00:00:00Z",
        (true, 0 | 1) => ":00Z",
        (true, _) => "Z",
    };
    words::instant(&format!("{local}{seconds}"))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::FromRequest, http::Request};

    use super::*;
    use crate::dashboard::links;

    async fn read(text: &str) -> Option<UnixMillis> {
        let uri = links::link("/deliveries", [("since", text)]);
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let fields = Fields::from_request(request, &()).await.unwrap();
        let mut wrong = Wrong::default();
        let read = instant(&fields, "since", &mut wrong);
        assert_eq!(read.is_some(), wrong.is_empty());
        read
    }

    #[tokio::test]
    async fn instants_of_browsers_and_typed_ones_are_read() {
        for (text, instant) in [
            ("2026-11-21T14:35", "2026-11-21T14:35:00.000Z"),
            ("2026-11-21T14:35:07Z", "2026-11-21T14:35:07.000Z"),
            ("2026-11-21", "2026-11-21T00:00:00.000Z"),
        ] {
            let read = read(text).await.map(|instant| instant.to_string());
            assert_eq!(read.as_deref(), Some(instant), "{text}");
        }
        assert_eq!(read("yesterday").await, None);
    }

    #[tokio::test]
    async fn a_span_counts_back_from_now() {
        for (text, ago) in [("15m", 15), ("2h", 120), ("7d", 7 * 24 * 60)] {
            let read = read(text).await.unwrap();
            let read = clock::now().since(read);
            let ago = Duration::from_mins(ago);
            assert!(read >= ago && read < ago + Duration::from_secs(9), "{text}: {read:?}");
        }
        assert_eq!(read("-2h").await, None);
    }
}
