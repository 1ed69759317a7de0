//! The addresses of pages.

use std::time::Duration;

use url::form_urlencoded;

use homing_delivery::parking::Entry;
use homing_domain::{error_group::ErrorId, record::RecordId, time::UnixMillis};
use homing_store::ParkedId;

/// Characters of `2026-11-21T14:35:16`.
const SECONDS: usize = 19;

/// `a=1&b=2`, encoded.
pub(super) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// `path?a=1&b=2`, encoded.
pub(super) fn link<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    format!("{path}?{}", query(pairs))
}

/// The page of one event.
pub(super) fn event(event: &str) -> String {
    link("/event", [("id", event)])
}

/// The list of attempts to one URL.
pub(super) fn attempts_at(url: &str) -> String {
    link("/attempts", [("url", url)])
}

/// The list of deliveries to one URL.
pub(super) fn deliveries_to(url: &str) -> String {
    link("/deliveries", [("url", url)])
}

/// The list of deliveries of one topic.
pub(super) fn deliveries_of(topic: &str) -> String {
    link("/deliveries", [("topic", topic)])
}

/// The list of endpoints with a text in their URLs.
pub(super) fn endpoints_with(text: &str) -> String {
    link("/endpoints", [("q", text)])
}

/// The page of one endpoint.
pub(super) fn endpoint(url: &str) -> String {
    link("/endpoint", [("url", url)])
}

/// The same with figures of another range.
pub(super) fn endpoint_in(url: &str, range: &str) -> String {
    link("/endpoint", [("url", url), ("range", range)])
}

/// The same with the latest attempts first.
pub(super) fn endpoint_latest(url: &str) -> String {
    link("/endpoint", [("url", url), ("attempts", "latest")])
}

/// The page of one attempt.
pub(super) fn attempt(id: &RecordId) -> String {
    link("/attempt", [("id", id.to_string().as_str())])
}

/// The bytes of a body of it.
pub(super) fn body(id: &RecordId, of: &str) -> String {
    link("/attempt/body", [("id", id.to_string().as_str()), ("of", of)])
}

/// The list of deliveries of one event.
pub(super) fn deliveries_with(event: &str) -> String {
    link("/deliveries", [("event", event)])
}

/// The preview of a replay of one event, which came within ten minutes before `first`.
pub(super) fn replay_of(event: &str, subscription: &str, first: UnixMillis) -> String {
    let second = |instant: UnixMillis| {
        let text = instant.to_string();
        text.get(..SECONDS).unwrap_or_default().to_owned()
    };
    let since = second(first.minus(Duration::from_mins(10)));
    let until = second(first.plus(Duration::from_secs(1)));
    link(
        "/replays",
        [
            ("preview", "1"),
            ("since", since.as_str()),
            ("until", until.as_str()),
            ("event", event),
            ("subscription", subscription),
        ],
    )
}

/// The page of one message.
pub(super) fn parked(entry: &Entry) -> String {
    parked_as(entry.id)
}

/// The page of what is parked under this id.
pub(super) fn parked_as(id: ParkedId) -> String {
    link("/parked/message", [("id", id.to_string().as_str())])
}

/// The list of what was parked for one error.
pub(super) fn parked_for(error: &ErrorId) -> String {
    link("/parked", [("error", error.to_string().as_str())])
}

/// The list of what is parked at one URL.
pub(super) fn parked_at(url: &str) -> String {
    link("/parked", [("url", url)])
}

/// The list of subscriptions at one URL.
pub(super) fn subscriptions_at(url: &str) -> String {
    link("/subscriptions", [("q", url)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        assert_eq!(link("/event", [("id", "a b&c")]), "/event?id=a+b%26c");
        assert_eq!(query([("b", "x<"), ("a", "2")]), "b=x%3C&a=2");
        let link = replay_of("o 1", "s", UnixMillis::new(1_000_000_900));
        assert_eq!(
            link,
            "/replays?preview=1&since=1970-01-12T13%3A36%3A40&until=1970-01-12T13%3A46%3A41&\
             event=o+1&subscription=s"
        );
    }
}
