//! The history: figures of all workers add up, once each, within bounds.

use std::time::Duration;

use homing_domain::{
    history::{Count, HourFigures, Series, TopicSeen},
    time::UnixMillis,
};
use homing_store::{HistoryBatch, HistoryGaps, Hours, Store, TopicOrder, TopicPage};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Kept, Place};

/// The beginning of an hour.
const START: UnixMillis = UnixMillis::new(1_699_999_200_000);
const MANY_TOPICS: u32 = 1_000;

fn hour(number: u64) -> UnixMillis {
    START.plus(Duration::from_secs(3_600 * number))
}

fn figures(delivered: u64, millis: u64) -> HourFigures {
    let mut figures = HourFigures::default();
    for _ in 0..delivered {
        figures.count(Count::Delivered);
        figures.response.add(millis);
    }
    figures
}

fn url(name: &str) -> Series {
    Series::Url(name.to_owned())
}

fn batch(worker: u128, number: i64) -> HistoryBatch {
    let worker = Uuid::from_u128(worker);
    HistoryBatch { worker, number, at: START, hours: Vec::new(), topics: Vec::new() }
}

fn seen(topic: &str, at: UnixMillis, is_wanted: bool) -> TopicSeen {
    TopicSeen::one(topic.to_owned(), at, is_wanted)
}

async fn everything(
    store: &dyn Store,
    series: &Series,
) -> Result<Hours, Box<dyn std::error::Error>> {
    Ok(store.history(series, UnixMillis::new(0), UnixMillis::new(i64::MAX)).await?)
}

pub(crate) async fn a_batch_of_history_that_is_sent_again_counts_once(place: Place) -> Kept {
    let store = place.open().await?;
    let mut first = batch(1, 1);
    first.hours = vec![(Series::All, hour(0), figures(2, 10)), (url("a"), hour(0), figures(2, 10))];
    first.topics = vec![seen("t", hour(0), true)];
    let mut second = batch(1, 2);
    second.hours = vec![(url("a"), hour(0), figures(3, 500)), (url("a"), hour(1), figures(1, 10))];
    second.topics = vec![seen("t", hour(1), false)];
    for batch in [&first, &first, &second, &first, &second] {
        assert_eq!(store.add_history(batch, MANY_TOPICS).await?, 0);
    }
    store.close().await;

    let store = place.open().await?;
    let mut sum = figures(2, 10);
    sum.merge(&figures(3, 500));
    let of_a = everything(&*store, &url("a")).await?;
    assert_eq!(of_a.hours, [(hour(0), sum), (hour(1), figures(1, 10))]);
    assert_eq!(everything(&*store, &Series::All).await?.hours, [(hour(0), figures(2, 10))]);
    assert_eq!(everything(&*store, &url("b")).await?, Hours::default());
    let later = store.history(&url("a"), hour(1), hour(2)).await?;
    assert_eq!(later.hours.len(), 1, "from the first instant on");
    assert_eq!(store.history(&url("a"), hour(0), hour(1)).await?.hours.len(), 1);
    let topics = store.topics(&TopicPage { limit: 9, ..TopicPage::default() }).await?;
    let mut expected = seen("t", hour(0), true);
    expected.merge(&seen("t", hour(1), false));
    assert_eq!(topics.topics, [expected]);
    Ok(())
}

/// Goal: many workers that write into the same rows neither lose figures nor wait for each other in
/// a ring.
pub(crate) async fn history_of_many_workers_adds_up(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let mut writing = JoinSet::new();
    for worker in 0..12_usize {
        let store = stores.iter().cycle().nth(worker).expect("it is endless");
        let store = std::sync::Arc::clone(store);
        writing.spawn(async move {
            for number in 1..=5 {
                let mut batch = batch(u128::try_from(worker).expect("few"), number);
                // In another order for every other worker.
                let names = (0..130).map(|name| if worker % 2 == 0 { name } else { 129 - name });
                let hours = names.map(|name| (url(&format!("{name:03}")), hour(0), figures(1, 1)));
                batch.hours = hours.collect();
                batch.topics = vec![seen("b", hour(0), true), seen("a", hour(0), false)];
                store.add_history(&batch, MANY_TOPICS).await?;
            }
            Ok::<_, homing_store::StoreError>(())
        });
    }
    for written in writing.join_all().await {
        written?;
    }
    let [store, _] = stores;
    for name in ["000", "099", "129"] {
        assert_eq!(everything(&*store, &url(name)).await?.hours, [(hour(0), figures(60, 1))]);
    }
    let topics = store.topics(&TopicPage { limit: 9, ..TopicPage::default() }).await?.topics;
    let counts: Vec<_> =
        topics.iter().map(|it| (it.topic.as_str(), it.events, it.unwanted)).collect();
    assert_eq!(counts, [("a", 60, 60), ("b", 60, 0)]);
    Ok(())
}

pub(crate) async fn topics_beyond_the_limit_count_as_others(place: Place) -> Kept {
    let store = place.open().await?;
    for (number, topics) in [(1, ["a", "c"]), (2, ["b", "a"]), (3, ["d", "c"])] {
        let mut batch = batch(1, number);
        let at = hour(number.unsigned_abs());
        batch.topics = topics.iter().map(|topic| seen(topic, at, *topic != "c")).collect();
        store.add_history(&batch, 3).await?;
    }
    let page = |after: Option<&str>, unwanted, limit| TopicPage {
        after: after.map(str::to_owned),
        unwanted,
        limit,
        ..TopicPage::default()
    };
    let first = store.topics(&page(None, false, 2)).await?;
    let names = |topics: &[TopicSeen]| -> Vec<_> {
        topics.iter().map(|seen| (seen.topic.clone(), seen.events)).collect()
    };
    assert_eq!(names(&first.topics), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    let others = first.others.ok_or("there are others")?;
    assert_eq!((others.events, others.last_ms), (1, hour(3)));
    let last = store.topics(&page(first.next.as_deref(), false, 2)).await?;
    assert_eq!((names(&last.topics), last.next), (vec![("c".to_owned(), 2)], None));

    let mut sorted = TopicPage { order: TopicOrder::Last, limit: 1, ..TopicPage::default() };
    let mut found = Vec::new();
    loop {
        let part = store.topics(&sorted).await?;
        found.extend(part.topics.into_iter().map(|seen| seen.topic));
        match part.next {
            Some(next) => sorted.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ["c", "a", "b"].map(str::to_owned), "what is equal is ordered by topic");
    let most = TopicPage { order: TopicOrder::Events, limit: 9, ..TopicPage::default() };
    let most = names(&store.topics(&most).await?.topics);
    assert_eq!(most, [("a", 2), ("c", 2), ("b", 1)].map(|(topic, events)| (topic.into(), events)));

    let unwanted = store.topics(&page(None, true, 9)).await?;
    assert_eq!(names(&unwanted.topics), [("c".to_owned(), 2)]);
    let lately = store.unwanted_topics(hour(3), 9).await?;
    assert_eq!(names(&lately), names(&unwanted.topics));
    assert_eq!(lately.first().and_then(|seen| seen.unwanted_ms), Some(hour(3)));
    assert_eq!(store.unwanted_topics(hour(4), 9).await?, []);
    Ok(())
}

pub(crate) async fn old_history_is_forgotten_and_the_oldest_of_too_much(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all = batch(1, 1);
    all.hours = (0..4_u64)
        .flat_map(|number| ["a", "b"].map(|name| (url(name), hour(number), figures(1, 1))))
        .collect();
    all.topics = vec![seen("old", hour(0), true), seen("new", hour(1), true)];
    store.add_history(&all, MANY_TOPICS).await?;
    store.prune_history(hour(1), 1_000, hour(9)).await?;
    let left = async || -> Result<Vec<_>, Box<dyn std::error::Error>> {
        let hours = everything(&*store, &url("a")).await?.hours;
        Ok(hours.into_iter().map(|(hour, _)| hour).collect())
    };
    assert_eq!(left().await?, [hour(1), hour(2), hour(3)]);
    let topics = store.topics(&TopicPage { limit: 9, ..TopicPage::default() }).await?.topics;
    assert_eq!(topics.len(), 1);
    // Whole hours go: of six rows, four are in the last two hours.
    store.prune_history(hour(1), 5, hour(9)).await?;
    assert_eq!(left().await?, [hour(2), hour(3)]);
    // What is now, and the sums of everything, stay.
    let mut sums = batch(1, 2);
    sums.hours = vec![(Series::All, hour(2), figures(1, 1))];
    store.add_history(&sums, MANY_TOPICS).await?;
    store.prune_history(hour(1), 1, hour(3)).await?;
    assert_eq!(left().await?, [hour(3)]);
    assert_eq!(everything(&*store, &Series::All).await?.hours.len(), 1);
    Ok(())
}

pub(crate) async fn more_is_forgotten_than_one_transaction_deletes(place: Place) -> Kept {
    let store = place.open().await?;
    for part in 0..5_u64 {
        let mut all = batch(1, i64::try_from(part)? + 1);
        let name = |number: u64| url(&format!("{part}-{number}"));
        all.hours = (0..500_u64).map(|number| (name(number), hour(0), figures(1, 1))).collect();
        store.add_history(&all, MANY_TOPICS).await?;
    }
    store.prune_history(hour(1), 10_000, hour(9)).await?;
    assert_eq!(everything(&*store, &url("0-0")).await?.hours, []);
    assert_eq!(everything(&*store, &url("4-499")).await?.hours, []);
    Ok(())
}

pub(crate) async fn figures_that_cannot_be_read_are_counted_and_replaced(place: Place) -> Kept {
    let store = place.open().await?;
    let mut first = batch(1, 1);
    first.hours = vec![(url("a"), hour(0), figures(1, 1)), (url("a"), hour(1), figures(1, 1))];
    store.add_history(&first, MANY_TOPICS).await?;
    place
        .shell("UPDATE history SET figures = substr(figures, 2) WHERE hour_ms = 1699999200000")
        .await?;
    let found = everything(&*store, &url("a")).await?;
    assert_eq!((found.hours.len(), found.unreadable), (1, 1));
    let mut second = batch(1, 2);
    second.hours = vec![(url("a"), hour(0), figures(5, 1))];
    assert_eq!(store.add_history(&second, MANY_TOPICS).await?, 1);
    let found = everything(&*store, &url("a")).await?;
    assert_eq!(found.unreadable, 0);
    assert_eq!(found.hours.first(), Some(&(hour(0), figures(5, 1))));
    Ok(())
}

/// Goal: what is missing is said: hours that were deleted, and workers that did not end.
pub(crate) async fn history_knows_what_it_lacks(place: Place) -> Kept {
    let store = place.open().await?;
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for worker in [1, 2] {
        let mut batch = batch(worker, 1);
        batch.hours = (0..4_u64)
            .flat_map(|number| {
                [Series::All, url("a")].map(|one| (one, hour(number), figures(1, 1)))
            })
            .collect();
        store.add_history(&batch, MANY_TOPICS).await?;
    }
    let gaps = async |since, now| store.history_gaps(hour(since), hour(9), now).await;
    let soon = START.plus(Duration::from_secs(299));
    assert_eq!(gaps(0, soon).await?, HistoryGaps::default(), "they may still write");
    store.end_history(first).await?;
    let late = START.plus(Duration::from_secs(301));
    let silent = HistoryGaps { silent: 1, last_silent: Some(START), ..HistoryGaps::default() };
    assert_eq!(gaps(0, late).await?, silent);
    assert_eq!(gaps(1, late).await?, HistoryGaps::default(), "it was silent before");
    store.end_history(second).await?;
    assert_eq!(gaps(0, late).await?, HistoryGaps::default());

    // Of eight rows, four are in the last two hours.
    store.prune_history(hour(0), 5, hour(9)).await?;
    let deleted = HistoryGaps { names_since: Some(hour(2)), ..HistoryGaps::default() };
    assert_eq!(gaps(1, late).await?, deleted);
    assert_eq!(gaps(2, late).await?, HistoryGaps::default());
    Ok(())
}
