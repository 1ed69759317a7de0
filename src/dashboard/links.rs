//! The addresses of pages.

use url::form_urlencoded;

use homing_delivery::parking::Entry;
use homing_domain::error_group::ErrorId;

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

/// The page of one message.
pub(super) fn parked(entry: &Entry) -> String {
    link("/parked/message", [("id", entry.id.to_string().as_str())])
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
    }
}
