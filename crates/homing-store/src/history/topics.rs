//! Adds sightings of topics, and reads them in an order.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use super::{ROWS_AT_ONCE, TopicPage};
use crate::{
    order_words,
    statement::{SqlDatabase, Statement, Tx, sql},
};
use homing_domain::{history::TopicSeen, time::UnixMillis};

const COUNT_TOPICS: &str = "SELECT CAST(count(*) AS bigint) FROM topics WHERE topic <> ''";

/// The order of topics. Those that are equal in it are ordered by topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicOrder {
    /// By topic alone.
    #[default]
    Topic,
    /// The most events first.
    Events,
    /// The most events that no subscription wanted first.
    Unwanted,
    /// The one whose last event came last first.
    Last,
}

impl TopicOrder {
    const WORDS: [(Self, &'static str); 4] = [
        (Self::Topic, "topic"),
        (Self::Events, "events"),
        (Self::Unwanted, "unwanted"),
        (Self::Last, "last"),
    ];

    /// Its word in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        order_words::word_of(&Self::WORDS, &self)
    }

    /// The number by which rows are ordered, the largest first.
    fn key(self) -> &'static str {
        match self {
            Self::Topic => "0",
            Self::Events => "events",
            Self::Unwanted => "unwanted",
            Self::Last => "last_ms",
        }
    }

    fn key_of(self, seen: &TopicSeen) -> i64 {
        match self {
            Self::Topic => 0,
            Self::Events => signed(seen.events),
            Self::Unwanted => signed(seen.unwanted),
            Self::Last => seen.last_ms.get(),
        }
    }
}

impl FromStr for TopicOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        order_words::read(&Self::WORDS, text)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads `limit` topics of a page and one more.
pub(super) fn listing<DB: SqlDatabase>(page: &TopicPage, limit: u32) -> Statement<DB> {
    let select = "SELECT topic, first_ms, last_ms, events, unwanted, unwanted_ms FROM topics";
    let select = sql(select).push(" WHERE topic <> '' AND unwanted >= ");
    let mut select = select.push_bind(i64::from(page.unwanted));
    let (after, key) = (page.after.as_deref().unwrap_or_default(), page.order.key());
    select = if page.order == TopicOrder::Topic {
        select.push(" AND topic > ").push_bind(after.to_owned()).push(" ORDER BY topic")
    } else {
        let parts = after.split_once(' ').and_then(|(key, topic)| Some((key.parse().ok()?, topic)));
        let (above, topic): (i64, &str) = parts.unwrap_or((i64::MAX, ""));
        select = select.push(" AND ").push(key).push(" <= ").push_bind(above);
        select = select.push(" AND (").push(key).push(" < ").push_bind(above);
        select = select.push(" OR topic > ").push_bind(topic.to_owned());
        select.push(") ORDER BY ").push(key).push(" DESC, topic")
    };
    select.push(" LIMIT ").push_bind(i64::from(limit).saturating_add(1))
}

/// The place behind a topic, for the next page.
pub(super) fn behind(order: TopicOrder, last: &TopicSeen) -> String {
    match order {
        TopicOrder::Topic => last.topic.clone(),
        TopicOrder::Events | TopicOrder::Unwanted | TopicOrder::Last => {
            format!("{} {}", order.key_of(last), last.topic)
        }
    }
}

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
