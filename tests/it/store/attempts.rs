//! The attempt log: what is written is there once, found by every filter, and forgotten in time.

use std::time::Duration;

use futures_util::future::try_join_all;
use homing_domain::{
    clock,
    delivery::Hold,
    id::{DeliveryId, EventId, SubscriptionId},
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, Gap, NextState, Record, RecordId},
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::{LogExtent, MAX_GAPS, Pruned, RECORDS_AT_ONCE, RecordFilter, RecordPage, Store};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{Kept, Place};

const START: i64 = 1_700_000_000_000;

pub(super) fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new(START).plus(Duration::from_secs(seconds))
}

/// One of three, so that filters find several records.
pub(super) fn subscription(number: u8) -> SubscriptionId {
    SubscriptionId::new(uuid::Uuid::from_u128(u128::from(number % 3)))
}

fn happened() -> impl Strategy<Value = AttemptEvent> {
    let class = prop::sample::select(vec![
        (Class::Accepted, Some(200)),
        (Class::Accepted, Some(204)),
        (Class::Refused, Some(503)),
        (Class::Refused, Some(418)),
        (Class::TimedOut, None),
        (Class::Unreachable, None),
    ]);
    let response = prop::collection::vec(any::<u8>(), 0..80);
    let cause = prop::option::of("\\PC{0,40}");
    let made = (class, 1_u32..13, 0_u64..10_000, response, any::<bool>(), cause).prop_map(
        |((class, status), attempt, millis, response, cut, cause)| {
            AttemptEvent::Attempted(Attempted {
                attempt,
                duration: Duration::from_millis(millis),
                class,
                outcome: format!("{} {}", class.as_str(), status.unwrap_or_default()),
                status,
                response,
                cut,
                cause,
            })
        },
    );
    prop_oneof![4 => made, 1 => "\\PC{1,40}".prop_map(AttemptEvent::NotAttempted)]
}

/// A record that began in one of the first hundred seconds.
fn record() -> impl Strategy<Value = Record> {
    let next_state = prop_oneof![
        Just(NextState::Done),
        any::<i64>().prop_map(|due| NextState::Waits(UnixMillis::new(due))),
        any::<i64>().prop_map(|due| NextState::NotBefore(UnixMillis::new(due))),
        any::<i64>().prop_map(|due| NextState::Throttled(UnixMillis::new(due))),
        any::<i64>().prop_map(|until| NextState::Held(UnixMillis::new(until))),
        prop::sample::select(ParkReason::ALL.to_vec()).prop_map(NextState::Parked),
    ];
    let url = prop::option::weighted(0.9, "https://[ab]\\.example/");
    let payloads = vec![PayloadState::Unwanted, PayloadState::Kept, PayloadState::Missed];
    let reasons = prop::sample::select(ParkReason::ALL.to_vec());
    let hold = (any::<i64>(), reasons)
        .prop_map(|(since, reason)| Hold { since: UnixMillis::new(since), reason });
    (
        0_u64..100,
        0_u8..20,
        prop::option::weighted(0.9, 0_u8..3),
        url,
        (0_u32..9, prop::sample::select(payloads)),
        happened(),
        next_state,
        prop::option::weighted(0.1, hold),
        prop::option::weighted(0.1, any::<i64>().prop_map(UnixMillis::new)),
    )
        .prop_map(
            |(second, event, recipient, url, (step, payload), happened, next_state, hold, turn)| {
                let event = EventId::new(&format!("e{event}")).expect("an id");
                // Nothing is delivered without an attempt.
                let next_state = match (&happened, next_state) {
                    (AttemptEvent::NotAttempted(_), NextState::Done) => NextState::NotWanted,
                    (_, next_state) => next_state,
                };
                let recipient =
                    recipient.map(subscription).map(|id| (id, DeliveryId::of(&event, id)));
                Record {
                    id: clock::new_record_id(at(second)),
                    event: event.to_string(),
                    topic: "order.paid".to_owned(),
                    recipient,
                    url,
                    step,
                    replays: step / 3,
                    order: turn.map_or(Some(i64::from(step)), |_| None),
                    happened,
                    next_state,
                    hold,
                    turn,
                    as_of: turn,
                    payload,
                }
            },
        )
}

pub(super) fn records(count: usize) -> Vec<Record> {
    let strategy = prop::collection::vec(record(), count);
    let tree = strategy.new_tree(&mut TestRunner::deterministic());
    tree.expect("records can be made").current()
}

fn gap(from: u64, until: u64, missed: u64) -> Gap {
    Gap { id: clock::new_id(), from: at(from), until: at(until), missed }
}

/// All pages with this filter.
async fn pages(
    store: &dyn Store,
    filter: &RecordFilter,
    limit: u32,
) -> Result<Vec<Record>, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    let mut page = RecordPage { filter: filter.clone(), after: None, limit };
    loop {
        let listing = store.attempts(&page).await?;
        assert!(listing.records.len() <= usize::try_from(limit)?);
        found.extend(listing.records);
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

fn ids(records: &[Record]) -> Vec<RecordId> {
    records.iter().map(|record| record.id).collect()
}

pub(super) async fn every_field_of_a_record_is_read_back(place: Place) -> Kept {
    let store = place.open().await?;
    let mut written = records(400);
    assert_eq!(store.record_attempts(&written, None).await?, 400);
    written.sort_by_key(|record| std::cmp::Reverse(record.id));
    assert_eq!(pages(&*store, &RecordFilter::default(), 150).await?, written);
    let [oldest, newest] = [written.last(), written.first()].map(|one| one.map(Record::started));
    assert_eq!(store.attempt_log().await?, LogExtent { rows: 400, oldest, newest });
    Ok(())
}

/// Goal: a batch whose writing was not answered can be written again without harm.
pub(super) async fn a_batch_that_is_written_again_is_there_once(place: Place) -> Kept {
    let store = place.open().await?;
    let (first, more) = (records(150), records(150));
    let gap = gap(1, 2, 7);
    store.record_attempts(&first, Some(&gap)).await?;
    let again: Vec<_> = first.iter().chain(&more).cloned().collect();
    assert_eq!(store.record_attempts(&again, Some(&gap)).await?, 300);
    assert_eq!(store.record_attempts(&again, Some(&gap)).await?, 300);
    assert_eq!(pages(&*store, &RecordFilter::default(), 1_000).await?.len(), 300);
    assert_eq!(store.attempt_gaps(at(0), at(100)).await?, [gap]);
    Ok(())
}

/// Goal: a hold has one row, however many workers record it, and none once it has ended. Method: two
/// handles hold the same deliveries at once, one for another reason later; one delivery is attempted,
/// one parked, and some are recorded late and again.
pub(super) async fn a_hold_has_one_row_until_it_ends(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let wait = Hold { since: at(10), reason: ParkReason::CircuitOpen };
    let holding = |event: u8, written: u64| {
        let event = EventId::new(&format!("e{event}")).expect("an id");
        let recipient = (subscription(1), DeliveryId::of(&event, subscription(1)));
        Record {
            id: RecordId::of_hold(wait.since, recipient.1),
            event: event.to_string(),
            topic: "order.paid".to_owned(),
            recipient: Some(recipient),
            url: None,
            step: 0,
            replays: 0,
            order: None,
            happened: AttemptEvent::NotAttempted("the circuit of its URL is open".to_owned()),
            next_state: NextState::Held(at(written)),
            hold: Some(wait),
            turn: None,
            as_of: None,
            payload: PayloadState::Unwanted,
        }
    };
    let all: Vec<_> = (0..200).map(|event| holding(event, 11)).collect();
    let reversed: Vec<_> = (0..200).rev().map(|event| holding(event, 12)).collect();
    let written = [(&stores[0], &all), (&stores[1], &reversed)];
    try_join_all(written.map(|(store, all)| store.record_attempts(all, None))).await?;
    assert_eq!(stores[0].attempt_log().await?.rows, 200);

    let frozen = Record {
        url: Some("https://a.example/".to_owned()),
        happened: AttemptEvent::NotAttempted("the circuit of its URL is frozen".to_owned()),
        next_state: NextState::Waits(at(30)),
        hold: Some(Hold { reason: ParkReason::Frozen, ..wait }),
        ..holding(5, 15)
    };
    for changed in [&frozen, &holding(5, 16), &frozen] {
        let batch = [holding(5, 14), changed.clone()];
        assert_eq!(stores[0].record_attempts(&batch, None).await?, 200);
        assert_eq!(stores[1].attempt(changed.id).await?.as_ref(), Some(changed));
    }

    let attempted = Record {
        id: clock::new_record_id(at(20)),
        happened: AttemptEvent::Attempted(Attempted {
            attempt: 1,
            duration: Duration::from_millis(5),
            class: Class::Accepted,
            outcome: "accepted 200".to_owned(),
            status: Some(200),
            response: Vec::new(),
            cut: false,
            cause: None,
        }),
        next_state: NextState::Done,
        ..holding(0, 13)
    };
    let next_state = NextState::Parked(ParkReason::CircuitOpen);
    let parked = Record { id: clock::new_record_id(at(21)), next_state, ..holding(1, 13) };
    let batch = [holding(2, 14), attempted.clone(), holding(0, 14), parked.clone()];
    for _ in 0..2 {
        assert_eq!(stores[0].record_attempts(&batch, None).await?, 200);
    }
    // Another worker's records of holds that are over come late.
    assert_eq!(stores[1].record_attempts(&[holding(0, 15), holding(1, 15)], None).await?, 200);
    let left = pages(&*stores[1], &RecordFilter::default(), 1_000).await?;
    assert_eq!(left.get(..2), Some(&[parked, attempted][..]));
    let mut expected: Vec<_> = all.iter().skip(2).map(|record| record.id).collect();
    expected.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(ids(left.get(2..).unwrap_or_default()), expected);
    assert_eq!(stores[1].attempt_log().await?.rows, 200);
    Ok(())
}

/// Goal: what a filter finds is what is meant by it. Method: every filter, alone and together with
/// others, in pages of several sizes, against a plain search of the same records.
pub(super) async fn every_filter_finds_what_it_means_newest_first(place: Place) -> Kept {
    let store = place.open().await?;
    let mut all = records(500);
    store.record_attempts(&all, None).await?;
    all.sort_by_key(|record| std::cmp::Reverse(record.id));
    let none = RecordFilter::default;
    let event = EventId::new("e7")?;
    let delivery = DeliveryId::of(&event, subscription(1));
    let of = |words: &str| words.parse().ok();
    let singles = [
        none(),
        RecordFilter { event: Some("e7".to_owned()), ..none() },
        RecordFilter { delivery: Some(delivery), ..none() },
        RecordFilter { subscription: Some(subscription(2)), ..none() },
        RecordFilter { url: Some("https://b.example/".to_owned()), ..none() },
        RecordFilter { classes: of("accepted"), ..none() },
        RecordFilter { classes: of("timed_out"), ..none() },
        RecordFilter { classes: of("not_attempted"), ..none() },
        RecordFilter { classes: of("failed"), ..none() },
        RecordFilter { status: Some(418.into()), ..none() },
        RecordFilter { status: Some(204.into()), ..none() },
        RecordFilter { status: "5xx".parse().ok(), ..none() },
        RecordFilter { status: "2xx".parse().ok(), ..none() },
    ];
    for filter in &singles {
        for (since, until) in [(None, None), (Some(at(30)), None), (Some(at(10)), Some(at(60)))] {
            let filter = RecordFilter { since, until, ..filter.clone() };
            let subscribed = RecordFilter { subscription: Some(subscription(0)), ..filter.clone() };
            for filter in [filter, subscribed] {
                let expected: Vec<_> = all.iter().filter(|one| matches(&filter, one)).collect();
                for limit in [3, 1_000] {
                    let found = pages(&*store, &filter, limit).await?;
                    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
                }
            }
        }
    }
    Ok(())
}

fn matches(filter: &RecordFilter, record: &Record) -> bool {
    let status = match &record.happened {
        AttemptEvent::Attempted(attempted) => attempted.status,
        AttemptEvent::NotAttempted(_) => None,
    };
    let RecordFilter { event, delivery, subscription, url, classes, .. } = filter;
    event.as_ref().is_none_or(|event| record.event == *event)
        && delivery.is_none_or(|id| record.recipient.is_some_and(|(_, recipient)| recipient == id))
        && subscription
            .is_none_or(|id| record.recipient.is_some_and(|(recipient, _)| recipient == id))
        && url.as_ref().is_none_or(|url| record.url.as_ref() == Some(url))
        && classes.as_ref().is_none_or(|meant| meant.as_slice().contains(&record.class()))
        && filter
            .status
            .is_none_or(|meant| status.is_some_and(|status| meant.range().contains(&status)))
        && filter.since.is_none_or(|since| record.started() >= since)
        && filter.until.is_none_or(|until| record.started() < until)
}

pub(super) async fn gaps_are_listed_where_they_touch_the_time_asked_for(place: Place) -> Kept {
    let store = place.open().await?;
    let gaps = [gap(10, 20, 1), gap(30, 40, 22), gap(50, 50, 333)];
    for gap in &gaps {
        store.record_attempts(&[], Some(gap)).await?;
    }
    let [first, second, third] = gaps;
    assert_eq!(store.attempt_gaps(at(0), at(100)).await?, [first, second, third]);
    assert_eq!(store.attempt_gaps(at(20), at(30)).await?, [first]);
    assert_eq!(store.attempt_gaps(at(35), at(51)).await?, [second, third]);
    assert_eq!(store.attempt_gaps(at(41), at(50)).await?, []);
    let everything = store.attempt_gaps(UnixMillis::new(0), UnixMillis::new(i64::MAX)).await?;
    assert_eq!(everything.len(), 3);
    Ok(())
}

/// Method: three steps' worth of records, of which half are too old.
pub(super) async fn what_is_too_old_is_forgotten_in_steps(place: Place) -> Kept {
    let store = place.open().await?;
    let all = records(3_000);
    for batch in all.chunks(1_000) {
        store.record_attempts(batch, Some(&gap(1, 49, 5))).await?;
    }
    store.record_attempts(&[], Some(&gap(1, 51, 6))).await?;
    let old = all.iter().filter(|record| record.started() < at(50)).count();
    let mut forgotten = 0;
    loop {
        let Pruned { records, more } = store.prune_attempts(at(50), 1_000_000).await?;
        assert!(records <= RECORDS_AT_ONCE.into());
        forgotten += usize::try_from(records)?;
        if !more {
            break;
        }
    }
    assert_eq!(forgotten, old);
    let left = pages(&*store, &RecordFilter::default(), 1_000).await?;
    assert_eq!(left.len(), all.len() - old);
    assert!(left.iter().all(|record| record.started() >= at(50)));
    assert_eq!(store.attempt_log().await?.rows, u64::try_from(left.len())?);
    let gaps = store.attempt_gaps(at(0), at(100)).await?;
    assert_eq!(gaps.iter().map(|gap| gap.missed).collect::<Vec<_>>(), [6]);
    Ok(())
}

/// Goal: processes that prune at once forget no more than one would. Method: four at a time, until
/// none finds more to forget; the newest stay.
pub(super) async fn what_is_too_much_is_forgotten_oldest_first_by_any_worker(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let mut all = records(2_500);
    for batch in all.chunks(1_000) {
        stores[0].record_attempts(batch, None).await?;
    }
    let prune = async |store: &dyn Store| {
        while store.prune_attempts(UnixMillis::new(0), 700).await?.more {}
        Ok::<_, homing_store::StoreError>(())
    };
    try_join_all(stores.iter().cycle().take(4).map(|store| prune(&**store))).await?;

    all.sort_by_key(|record| std::cmp::Reverse(record.id));
    let left = pages(&*stores[1], &RecordFilter::default(), 1_000).await?;
    all.truncate(700);
    assert_eq!(ids(&left), ids(&all));
    assert_eq!(stores[1].attempt_log().await?.rows, 700);
    Ok(())
}

pub(super) async fn gaps_are_bounded_the_newest_stay(place: Place) -> Kept {
    let store = place.open().await?;
    let max = u64::from(MAX_GAPS);
    for number in 0..max + 5 {
        store.record_attempts(&[], Some(&gap(number, number, number + 1))).await?;
    }
    store.prune_attempts(UnixMillis::new(0), 1_000).await?;
    let gaps = store.attempt_gaps(at(0), at(10_000)).await?;
    let missed: Vec<_> = gaps.iter().map(|gap| gap.missed).collect();
    assert_eq!(missed, (6..=max + 5).collect::<Vec<_>>());
    Ok(())
}

/// Method: two handles write the same and other records at once.
pub(super) async fn records_of_many_writers_add_up(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let batches: Vec<_> = (0..10).map(|_| records(50)).collect();
    let twice = batches.iter().chain(&batches).zip(stores.iter().cycle());
    try_join_all(twice.map(|(batch, store)| store.record_attempts(batch, None))).await?;
    assert_eq!(stores[0].attempt_log().await?.rows, 500);
    assert_eq!(pages(&*stores[1], &RecordFilter::default(), 1_000).await?.len(), 500);
    Ok(())
}
