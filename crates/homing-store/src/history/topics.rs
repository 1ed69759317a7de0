//! Adds sightings of topics.

use std::collections::{BTreeMap, BTreeSet};

use super::ROWS_AT_ONCE;
use crate::statement::{SqlDatabase, Statement, Tx, sql};
use homing_domain::{history::TopicSeen, time::UnixMillis};

const COUNT_TOPICS: &str = "SELECT CAST(count(*) AS bigint) FROM topics WHERE topic <> ''";

/// Adds sightings to those that are there; a new topic beyond `max_topics` counts as another.
pub(super) async fn add<DB: SqlDatabase>(
    transaction: &mut Tx<DB>,
    topics: &[TopicSeen],
    max_topics: u32,
) -> sqlx::Result<()> {
    for topics in topics.chunks(ROWS_AT_ONCE) {
        let mut select = sql("SELECT topic FROM topics WHERE topic IN (");
        for (index, seen) in topics.iter().enumerate() {
            select = select.push(if index == 0 { "" } else { ", " }).push_bind(&seen.topic);
        }
        let known: Vec<(String,)> = select.push(")").all(transaction).await?;
        let known: BTreeSet<_> = known.into_iter().map(|(topic,)| topic).collect();
        let is_distinguished =
            |seen: &TopicSeen| seen.topic.is_empty() || known.contains(&seen.topic);
        let mut room = 0;
        if !topics.iter().all(is_distinguished) {
            let (count,): (i64,) = sql(COUNT_TOPICS).one(transaction).await?;
            room = i64::from(max_topics).saturating_sub(count);
        }
        let mut rows: BTreeMap<&str, TopicSeen> = BTreeMap::new();
        for seen in topics {
            let mut topic = seen.topic.as_str();
            if !is_distinguished(seen) {
                room = room.saturating_sub(1);
                topic = if room < 0 { "" } else { topic };
            }
            let row = TopicSeen { topic: topic.to_owned(), ..seen.clone() };
            rows.entry(topic).and_modify(|sum| sum.merge(&row)).or_insert(row);
        }
        add_rows(&rows).execute(transaction).await?;
    }
    Ok(())
}

fn add_rows<DB: SqlDatabase>(rows: &BTreeMap<&str, TopicSeen>) -> Statement<DB> {
    let mut insert =
        sql("INSERT INTO topics (topic, first_ms, last_ms, events, unwanted, unwanted_ms) VALUES ");
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for (index, seen) in rows.values().enumerate() {
        insert = insert.push(if index == 0 { "(" } else { "), (" }).push_bind(&seen.topic);
        let numbers =
            [seen.first_ms.get(), seen.last_ms.get(), signed(seen.events), signed(seen.unwanted)];
        for number in numbers {
            insert = insert.push(", ").push_bind(number);
        }
        insert = insert.push(", ").push_bind(seen.unwanted_ms.map(UnixMillis::get));
    }
    insert.push(
        ") ON CONFLICT (topic) DO UPDATE SET events = topics.events + excluded.events, \
        unwanted = topics.unwanted + excluded.unwanted, first_ms = CASE \
        WHEN excluded.first_ms < topics.first_ms THEN excluded.first_ms ELSE topics.first_ms END, \
        last_ms = CASE \
        WHEN excluded.last_ms > topics.last_ms THEN excluded.last_ms ELSE topics.last_ms END, \
        unwanted_ms = CASE WHEN excluded.unwanted_ms IS NULL THEN topics.unwanted_ms \
        WHEN topics.unwanted_ms > excluded.unwanted_ms THEN topics.unwanted_ms \
        ELSE excluded.unwanted_ms END",
    )
}
