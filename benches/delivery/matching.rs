//! The cost of finding the subscriptions of an event, by how many there are: the index, and asking
//! each of them.

use homing_domain::{
    topic::{Topic, TopicPattern},
    topic_tree::TopicTree,
};
use tokio::time::Instant;

use crate::report::{Figures, Row};

/// Half of the patterns are exact, half have a wildcard; a handful fit the topic that is asked for.
fn patterns(count: usize) -> Vec<TopicPattern> {
    let pattern = |number: usize| {
        let text = match number % 4 {
            0 => format!("shop{}.order.*", number / 4),
            1 => format!("*.order.paid{}", number / 4),
            2 => format!("shop{}.order.paid", number / 4),
            _ => format!("shop{}.stock.{}", number % 100, number / 4),
        };
        text.parse().expect("it is a pattern")
    };
    (0..count).map(pattern).collect()
}

/// Microseconds that `work` takes.
fn micros(times: u32, mut work: impl FnMut() -> usize) -> f64 {
    let (begun, mut found) = (Instant::now(), 0);
    for _ in 0..times {
        found += std::hint::black_box(work());
    }
    assert!(found > 0, "nothing was found");
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}

/// From 1 to 100,000 subscriptions.
pub(crate) fn matching(rounds: usize) -> Vec<Row> {
    let topic = Topic::new("shop0.order.paid").expect("it is a topic");
    let mut rows = Vec::new();
    for count in [1, 10, 100, 1_000, 10_000, 100_000] {
        let patterns = patterns(count);
        let mut tree = TopicTree::default();
        for (number, pattern) in patterns.iter().enumerate() {
            tree.insert(pattern, number);
        }
        let (mut index, mut each) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let by_index = micros(100_000, || tree.matching(&topic).len());
            let times = u32::try_from((1_000_000 / count).min(10_000)).unwrap_or(1);
            let by_each =
                micros(times, || patterns.iter().filter(|pattern| pattern.matches(&topic)).count());
            index.push(Figures::default().with("micros", by_index));
            each.push(Figures::default().with("micros", by_each));
        }
        let case = format!("{count} subscriptions");
        let row = Row::new("matching", &case, "index", &index);
        rows.push(row.compared("micros", &index, ("each", &each)));
        rows.push(Row::new("matching", case, "each", &each));
    }
    rows
}
