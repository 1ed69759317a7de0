//! The present states of deliveries: of each, the last record counts, whichever worker wrote it.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use homing_domain::{
    clock,
    delivery::Hold,
    delivery_state::DeliveryState,
    id::{DeliveryId, EventId},
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, NextState, Record, RecordId},
    time::UnixMillis,
    verdict::ParkReason,
};
use homing_store::{
    DeliveryFilter, DeliveryListing, DeliveryPage, RecordFilter, RecordPage, Store,
};

use super::{
    Kept, Place,
    attempts::{at, records, subscription},
    parked::{AMPLE, QUEUE, message, some},
};

/// All pages with this filter.
async fn pages(
    store: &dyn Store,
    filter: &DeliveryFilter,
    limit: u32,
) -> Result<Vec<Record>, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    let mut page = DeliveryPage { filter: filter.clone(), after: None, limit };
    loop {
        let DeliveryListing { last, next, .. } = store.deliveries(&page).await?;
        assert!(last.len() <= usize::try_from(limit)?);
        found.extend(last);
        match next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

fn matches(filter: &DeliveryFilter, last: &Record) -> bool {
    let DeliveryFilter { event, delivery, subscription, url, topic, states, since, until } = filter;
    event.as_ref().is_none_or(|event| last.event == *event)
        && delivery.is_none_or(|id| last.recipient.is_some_and(|(_, delivery)| delivery == id))
        && subscription.is_none_or(|id| last.recipient.is_some_and(|(of, _)| of == id))
        && url.as_ref().is_none_or(|url| last.url.as_ref() == Some(url))
        && topic.as_ref().is_none_or(|topic| last.topic == *topic)
        && states.as_ref().is_none_or(|states| states.as_slice().contains(&last.state()))
        && since.is_none_or(|since| last.started() >= since)
        && until.is_none_or(|until| last.started() < until)
}

/// Goal: each delivery is listed once, with its last record, and every filter finds what it means.
/// Method: records of sixty deliveries, written by two handles at once, in several orders and again,
/// against a plain search for the last ones.
pub(super) async fn of_each_delivery_the_last_record_counts(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let mut all = records(600);
    all.retain(|record| record.recipient.is_some());
    // As clocks of workers have it, a later step may begin before an earlier one.
    for (number, record) in all.iter_mut().enumerate() {
        record.order = i64::try_from(number % 7).ok();
    }
    let others: Vec<_> = all.iter().rev().cloned().collect();
    let parts = all.chunks(90).chain(others.chunks(70)).zip(stores.iter().cycle());
    try_join_all(parts.map(|(part, store)| store.record_attempts(part, None))).await?;
    let mut last: BTreeMap<_, &Record> = BTreeMap::new();
    for record in &all {
        let known = last.entry(record.recipient).or_insert(record);
        if (record.order, record.id) > (known.order, known.id) {
            *known = record;
        }
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_by_key(|record| std::cmp::Reverse(record.id));
    assert_eq!(last.len(), 60);

    // Readers look for later records themselves, so no list shows a mark too many.
    assert_eq!(place.number("SELECT count(*) FROM attempts WHERE latest = 1").await?, 60);
    let [store, _] = stores;
    let none = DeliveryFilter::default;
    let state = |word: &str| word.parse().ok();
    let id = DeliveryId::of(&EventId::new("e7")?, subscription(1));
    let singles = [
        none(),
        DeliveryFilter { event: Some("e7".to_owned()), ..none() },
        DeliveryFilter { delivery: Some(id), ..none() },
        DeliveryFilter { topic: Some("order.paid".to_owned()), ..none() },
        DeliveryFilter { topic: Some("order".to_owned()), ..none() },
        DeliveryFilter { url: Some("https://b.example/".to_owned()), ..none() },
    ];
    let states = [None, state("pending")]
        .into_iter()
        .chain(DeliveryState::ALL.map(|one| state(one.as_str())));
    for states in states {
        for single in &singles {
            for (since, subscribed) in [(None, false), (Some(at(30)), true), (None, true)] {
                let subscription = subscribed.then(|| subscription(2));
                let filter = DeliveryFilter { states, since, subscription, ..single.clone() };
                let expected = last.iter().filter(|one| matches(&filter, one));
                let expected: Vec<_> = expected.map(|one| (*one).clone()).collect();
                for limit in [4, 1_000] {
                    let found = pages(&*store, &filter, limit).await?;
                    assert_eq!(found, expected, "{filter:?}");
                }
            }
        }
    }
    Ok(())
}

fn of(event: &str, id: RecordId, happened: AttemptEvent, next_state: NextState) -> Record {
    let event = EventId::new(event).expect("an id");
    Record {
        id,
        event: event.to_string(),
        topic: "order.paid".to_owned(),
        recipient: Some((subscription(1), DeliveryId::of(&event, subscription(1)))),
        url: Some("https://a.example/".to_owned()),
        step: 0,
        replays: 0,
        order: Some(0),
        happened,
        next_state,
        hold: None,
        turn: None,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

fn accepted(event: &str, second: u64) -> Record {
    let attempted = AttemptEvent::Attempted(Attempted {
        attempt: 1,
        duration: Duration::from_millis(5),
        class: Class::Accepted,
        outcome: "accepted 200".to_owned(),
        status: Some(200),
        response: Vec::new(),
        cut: false,
        cause: None,
    });
    of(event, clock::new_record_id(at(second)), attempted, NextState::Done)
}

/// A record of a wait for its turn since the tenth second.
fn throttled(event: &str, second: u64) -> Record {
    let (turn, why) = (at(10), AttemptEvent::NotAttempted("it waits for its turn".to_owned()));
    let delivery = DeliveryId::of(&EventId::new(event).expect("an id"), subscription(1));
    let id = RecordId::of_turn(turn, delivery);
    let record = of(event, id, why, NextState::Throttled(at(second + 4)));
    let order = i64::try_from(second).ok();
    Record { turn: Some(turn), as_of: Some(at(second)), order, ..record }
}

/// Goal: a wait for its turn has one row, which says what was seen last, and none once it has ended:
/// by an attempt, or because the delivery waits for its endpoint. Method: records come late and
/// again.
pub(super) async fn a_wait_for_its_turn_has_one_row_until_it_ends(place: Place) -> Kept {
    let store = place.open().await?;
    let listed = async || pages(&*store, &DeliveryFilter::default(), 100).await;
    let first: Vec<_> = ["a", "b", "c"].iter().map(|event| throttled(event, 11)).collect();
    assert_eq!(store.record_attempts(&first, None).await?, 3);
    let again = [throttled("a", 15), throttled("b", 15), throttled("a", 13)];
    assert_eq!(store.record_attempts(&again, None).await?, 3);
    let late = [throttled("b", 12)];
    assert_eq!(store.record_attempts(&late, None).await?, 3);
    let mut seen: Vec<_> = listed().await?.into_iter().map(|one| (one.event, one.as_of)).collect();
    seen.sort();
    let expected = [("a", 13), ("b", 15), ("c", 11)];
    assert_eq!(seen, expected.map(|(event, second)| (event.to_owned(), Some(at(second)))));

    let ended = Record { turn: Some(at(10)), order: Some(20), ..accepted("a", 20) };
    let since = Hold { since: at(16), reason: ParkReason::CircuitOpen };
    let (_, delivery) = throttled("b", 1).recipient.ok_or("a recipient")?;
    let why = AttemptEvent::NotAttempted("the circuit of its URL is open".to_owned());
    let held = Record {
        id: RecordId::of_hold(since.since, delivery),
        happened: why,
        next_state: NextState::Held(at(99)),
        hold: Some(since),
        as_of: Some(at(16)),
        ..throttled("b", 16)
    };
    for _ in 0..2 {
        assert_eq!(store.record_attempts(&[ended.clone(), held.clone()], None).await?, 3);
    }
    // Another worker's records of waits that are over come late.
    let late = [throttled("a", 14), throttled("b", 14)];
    assert_eq!(store.record_attempts(&late, None).await?, 3);
    let last = listed().await?;
    assert_eq!(last.get(..2), Some(&[ended.clone(), held.clone()][..]));
    assert_eq!(last.get(2).map(|one| one.event.as_str()), Some("c"));
    assert_eq!(store.records_of(&last, 100).await?.len(), 3);

    let sent = Record { hold: Some(since), order: Some(30), ..accepted("b", 30) };
    assert_eq!(store.record_attempts(std::slice::from_ref(&sent), None).await?, 3);
    assert_eq!(store.record_attempts(&[held], None).await?, 3);
    assert_eq!(listed().await?.first(), Some(&sent));
    Ok(())
}

/// Goal: a hold that goes on after a throttle, or after a failure of homing's own, is listed as held
/// again. Method: the record of the hold keeps its beginning, so others began later.
pub(super) async fn what_is_held_again_is_listed_as_held(place: Place) -> Kept {
    let store = place.open().await?;
    let since = Hold { since: at(5), reason: ParkReason::CircuitOpen };
    let held = |event: &str, second: u64, turn: Option<UnixMillis>| {
        let record = throttled(event, second);
        let (_, delivery) = record.recipient.expect("it has one");
        let id = RecordId::of_hold(since.since, delivery);
        let next_state = NextState::Held(at(99));
        Record { id, next_state, hold: Some(since), turn, ..record }
    };
    let states = async || -> Result<Vec<_>, Box<dyn std::error::Error>> {
        let listed = pages(&*store, &DeliveryFilter::default(), 100).await?;
        Ok(listed.iter().map(Record::state).collect())
    };
    store.record_attempts(&[held("a", 6, None), held("b", 6, None)], None).await?;
    let throttled = Record { hold: Some(since), ..throttled("a", 12) };
    let why = AttemptEvent::NotAttempted("no socket".to_owned());
    let not_now = of("b", clock::new_record_id(at(12)), why, NextState::Waits(at(13)));
    let not_now = Record { hold: Some(since), order: Some(12), ..not_now };
    store.record_attempts(&[throttled, not_now], None).await?;
    let mut between = states().await?;
    between.sort();
    assert_eq!(between, [DeliveryState::Waits, DeliveryState::Throttled]);
    let again = [held("a", 20, Some(at(10))), held("b", 20, None)];
    store.record_attempts(&again, None).await?;
    assert_eq!(states().await?, [DeliveryState::Held; 2]);
    Ok(())
}

/// Goal: an event that was parked before its fan-out is listed until its deliveries are, and goes with
/// the log.
pub(super) async fn an_event_that_was_parked_is_listed_until_it_was_replayed(place: Place) -> Kept {
    let store = place.open().await?;
    let why = AttemptEvent::NotAttempted("it is too large".to_owned());
    let parked = NextState::Parked(ParkReason::TooLarge);
    let event = of("a", clock::new_record_id(at(1)), why, parked);
    let event = Record { recipient: None, url: None, ..event };
    store.record_attempts(&[event.clone(), accepted("b", 2)], None).await?;
    let listed = async || pages(&*store, &DeliveryFilter::default(), 100).await;
    assert_eq!(listed().await?.last(), Some(&event));
    let replayed = Record { replays: 1, order: Some(1 << 48), ..accepted("a", 3) };
    store.record_attempts(std::slice::from_ref(&replayed), None).await?;
    assert_eq!(listed().await?.first(), Some(&replayed));
    assert_eq!(listed().await?.len(), 2);
    store.prune_attempts(at(3), 100).await?;
    assert_eq!(listed().await?, [replayed]);
    // Another worker's record of it comes late.
    store.record_attempts(std::slice::from_ref(&event), None).await?;
    assert_eq!(listed().await?.len(), 1);
    Ok(())
}

/// Goal: where a filter has no index, a page looks at a bounded number of rows and says where the next
/// one begins. Method: one delivery with another topic behind very many.
pub(super) async fn a_search_without_an_index_goes_on_page_by_page(place: Place) -> Kept {
    let store = place.open().await?;
    let mut rare = Record { topic: "rare".to_owned(), ..accepted("rare", 0) };
    if let AttemptEvent::Attempted(attempted) = &mut rare.happened {
        attempted.status = Some(204);
    }
    store.record_attempts(std::slice::from_ref(&rare), None).await?;
    for batch in 0..11_u64 {
        let batch: Vec<_> =
            (0..1_000).map(|one| accepted(&format!("{batch}-{one}"), batch + 1)).collect();
        store.record_attempts(&batch, None).await?;
    }
    let filter = DeliveryFilter {
        topic: Some("rare".to_owned()),
        states: "delivered".parse().ok(),
        ..DeliveryFilter::default()
    };
    let page = DeliveryPage { filter: filter.clone(), after: None, limit: 10 };
    let first = store.deliveries(&page).await?;
    assert_eq!((first.last.len(), first.is_cut), (0, true));
    let second = store.deliveries(&DeliveryPage { after: first.next, ..page }).await?;
    assert_eq!((second.last, second.next, second.is_cut), (vec![rare.clone()], None, false));
    assert_eq!(pages(&*store, &filter, 10).await?, [rare.clone()]);

    // Attempts in the same way.
    let filter = RecordFilter { status: "204".parse().ok(), ..RecordFilter::default() };
    let page = RecordPage { filter, after: None, limit: 10 };
    let first = store.attempts(&page).await?;
    assert_eq!((first.records.len(), first.is_cut), (0, true));
    let second = store.attempts(&RecordPage { after: first.next, ..page }).await?;
    assert_eq!((second.records, second.next, second.is_cut), (vec![rare], None, false));
    Ok(())
}

/// Goal: a page that ends where enough was looked at has nothing from behind its end, also of states
/// that are read whole; the next one has it, once. Method: a delivery that waits for longer than one
/// that failed very often.
pub(super) async fn what_is_behind_the_end_of_a_page_is_on_the_next(place: Place) -> Kept {
    let store = place.open().await?;
    let failed = |event: &str, second: u64, order: i64| {
        let why = AttemptEvent::NotAttempted("no socket".to_owned());
        let id = clock::new_record_id(at(second));
        Record { order: Some(order), ..of(event, id, why, NextState::Waits(at(99))) }
    };
    let waits = failed("waits", 1, 0);
    store.record_attempts(std::slice::from_ref(&waits), None).await?;
    for batch in 0..11_u64 {
        let batch: Vec<_> = (0..1_000).map(|one| failed("often", batch + 2, one)).collect();
        store.record_attempts(&batch, None).await?;
    }
    let delivered = Record { order: Some(5_000), ..accepted("often", 20) };
    store.record_attempts(std::slice::from_ref(&delivered), None).await?;
    let url = Some("https://a.example/".to_owned());
    let filter = DeliveryFilter { url, ..DeliveryFilter::default() };
    let page = DeliveryPage { filter: filter.clone(), after: None, limit: 10 };
    let first = store.deliveries(&page).await?;
    assert_eq!((first.last, first.is_cut), (vec![delivered.clone()], true));
    assert_eq!(pages(&*store, &filter, 10).await?, [delivered, waits]);
    Ok(())
}

/// Goal: of many last records, exactly those are found whose deliveries are parked still, each once,
/// and an event that was parked before its fan-out is not taken for one of its deliveries.
pub(super) async fn what_is_parked_still_is_found_by_last_records(place: Place) -> Kept {
    let store = place.open().await?;
    let once = message(1, "t", some(1));
    let first = message(2, "t", some(1));
    let mut again = message(2, "t", some(1));
    again.id = message(9, "t", some(1)).id;
    let mut event = message(3, "t", some(1));
    let other = message(4, "t", some(1));
    for one in &mut again.deliveries {
        one.id = again.id;
    }
    for one in &mut event.deliveries {
        one.recipient = None;
    }
    let messages = [once, first, event, again, other];
    assert_eq!(store.park(QUEUE, &messages, AMPLE).await?.deliveries, 5);

    let last = |number: u32, has_delivery: bool| {
        let delivery = message(number, "t", some(1)).deliveries.remove(0);
        let recipient = delivery.recipient.filter(|_| has_delivery);
        Record { event: delivery.event, recipient, ..accepted("a", 1) }
    };
    // The seventh was never parked; of the third, only the event was, of the fourth its delivery.
    let records = [(1, true), (2, true), (7, true), (3, true), (3, false), (4, false)];
    let records = records.map(|(number, has_delivery)| last(number, has_delivery));
    let mut found: Vec<_> = store.parked_of(&records).await?.iter().map(|one| one.id).collect();
    found.sort();
    let [once, _, event, again, _] = messages;
    assert_eq!(found, [once.id, event.id, again.id]);
    assert!(store.parked_of(&[]).await?.is_empty());
    store.remove_parked(&[once.id, again.id]).await?;
    let found = store.parked_of(&records).await?;
    assert_eq!(
        found.len(),
        2,
        "the first time that the second was parked, and the third: {found:?}"
    );
    Ok(())
}

/// Goal: while workers of an earlier version run, a delivery is in no state that it has left. Method:
/// a record as they write it, which takes the mark from no other.
pub(super) async fn what_an_earlier_version_records_ends_the_state_before(place: Place) -> Kept {
    let store = place.open().await?;
    let waits = |event: &str| {
        let why = AttemptEvent::NotAttempted("no socket".to_owned());
        of(event, clock::new_record_id(at(1)), why, NextState::Waits(at(9)))
    };
    let delivered = Record { order: Some(1), ..accepted("a", 5) };
    store.record_attempts(&[waits("a"), waits("b"), delivered], None).await?;
    place
        .shell(
            "UPDATE attempts SET state = NULL, latest = 0, progress = NULL \
             WHERE class = 'accepted'; UPDATE attempts SET latest = 1 WHERE state = 'waits'",
        )
        .await?;
    // News of an earlier wait gives no mark to what has no state.
    let earlier = Record { id: clock::new_record_id(at(0)), ..throttled("a", 2) };
    store.record_attempts(&[earlier], None).await?;
    let states = "pending".parse().ok();
    for filter in
        [DeliveryFilter { states, ..DeliveryFilter::default() }, DeliveryFilter::default()]
    {
        let listed = pages(&*store, &filter, 10).await?;
        let events: Vec<_> = listed.iter().map(|one| one.event.as_str()).collect();
        assert_eq!(events, ["b"], "{filter:?}");
    }
    Ok(())
}
