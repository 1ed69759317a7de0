//! Any patterns and topics are read or refused, and matching is what the words say.
//!
//! Data: a pattern, a line break, a topic.

use homing_domain::topic::{Topic, TopicPattern};

/// Compares the matching with a plain one, word for word.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((pattern, topic)) = text.split_once('\n') else { return };
    let (Ok(pattern), Ok(topic)) = (pattern.parse::<TopicPattern>(), Topic::new(topic)) else {
        return;
    };
    // The plain one takes exponential time.
    if pattern.as_str().matches('#').count() > 4 || topic.as_str().len() > 60 {
        let _any = pattern.matches(&topic);
        return;
    }
    let words = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let plain = plain(&words(pattern.as_str()), &words(topic.as_str()));
    assert_eq!(pattern.matches(&topic), plain, "{} {}", pattern.as_str(), topic.as_str());
}

fn plain(pattern: &[String], topic: &[String]) -> bool {
    match pattern.split_first() {
        None => topic.is_empty(),
        Some((first, rest)) if first == "#" => {
            (0..=topic.len()).any(|skipped| plain(rest, topic.get(skipped..).unwrap_or_default()))
        }
        Some((first, rest)) => topic
            .split_first()
            .is_some_and(|(word, others)| (first == "*" || first == word) && plain(rest, others)),
    }
}
