//! Errors: every failed attempt counts once, by what failed.

use std::time::Duration;

use futures_util::future::try_join_all;
use homing_domain::{
    clock,
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, NextState, Record},
    time::UnixMillis,
};
use homing_store::{ErrorFilter, ErrorGroups, MAX_ERROR_GROUPS, MAX_ERROR_GROUPS_PER_URL};

use super::{Kept, Place};

const URL: &str = "https://a.example/";

fn at(seconds: u64) -> UnixMillis {
    UnixMillis::new(1_700_000_000_000).plus(Duration::from_secs(seconds))
}

pub(super) fn failed(seconds: u64, url: &str, response: &str) -> Record {
    let attempted = Attempted {
        attempt: 1,
        duration: Duration::ZERO,
        class: Class::Refused,
        outcome: "refused 503".to_owned(),
        status: Some(503),
        response: response.as_bytes().to_vec(),
        cut: false,
        cause: None,
    };
    Record {
        id: clock::new_record_id(at(seconds)),
        event: "e".to_owned(),
        topic: "t".to_owned(),
        recipient: None,
        url: Some(url.to_owned()),
        step: 0,
        replays: 0,
        order: Some(0),
        happened: AttemptEvent::Attempted(attempted),
        next_state: NextState::Waits(at(seconds)),
        hold: None,
        turn: None,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

fn all() -> ErrorFilter {
    ErrorFilter { limit: 1_000, ..ErrorFilter::default() }
}

/// Method: two handles write the same batches in other orders, at once and again.
pub(super) async fn a_failed_attempt_counts_once_by_what_failed(place: Place) -> Kept {
    let stores = [place.open().await?, place.open().await?];
    let of = |second: u64| {
        let text = match second % 3 {
            0 => "busy, order 1",
            1 => "busy, order 22",
            _ => "broken",
        };
        failed(second, URL, text)
    };
    let batches: Vec<Vec<_>> =
        (0..4).map(|batch| (batch * 30..batch * 30 + 30).map(of).collect()).collect();
    let orders = batches.iter().zip(stores.iter().cycle()).chain(batches.iter().rev().zip(&stores));
    try_join_all(orders.map(|(batch, store)| store.record_attempts(batch, None))).await?;
    stores[0].record_attempts(&[failed(500, "https://b.example/", "broken")], None).await?;

    let ErrorGroups { groups, more } = stores[1].error_groups(&all()).await?;
    assert!(!more);
    let found: Vec<_> = groups
        .iter()
        .map(|(_, group)| (group.kind.url.as_str(), group.kind.text.as_str(), group.count))
        .collect();
    assert_eq!(
        found,
        [("https://b.example/", "broken", 1), (URL, "broken", 40), (URL, "busy, order #", 80)]
    );
    let [elsewhere, broken, busy] = &groups[..] else { return Err("three errors".into()) };
    let last = batches.last().and_then(|batch| batch.last()).ok_or("there are some")?;
    let (id, group) = broken;
    assert_eq!((group.first, group.last), (at(2), at(119)));
    assert_eq!((group.example, group.kind.status), (last.id, Some(503)));
    assert_eq!(stores[1].error_id(&group.kind), *id);

    let read = async |filter: ErrorFilter| stores[0].error_groups(&filter).await;
    let url = Some(URL.to_owned());
    assert_eq!(read(ErrorFilter { url, ..all() }).await?.groups, [broken.clone(), busy.clone()]);
    assert_eq!(
        read(ErrorFilter { since: Some(at(119)), ..all() }).await?.groups,
        [elsewhere.clone(), broken.clone()]
    );
    let first = read(ErrorFilter { limit: 1, ..all() }).await?;
    assert_eq!((first.groups, first.more), (vec![elsewhere.clone()], true));
    Ok(())
}

pub(super) async fn old_errors_are_forgotten_and_their_number_is_bounded(place: Place) -> Kept {
    let store = place.open().await?;
    let many = u64::from(MAX_ERROR_GROUPS) + 500;
    let url = |number: u64| format!("https://a{number}.example/");
    for batch in (0..many).collect::<Vec<_>>().chunks(200) {
        let batch: Vec<_> =
            batch.iter().map(|number| failed(*number, &url(*number), "busy")).collect();
        store.record_attempts(&batch, None).await?;
    }
    let of = async |number: u64| {
        let filter = ErrorFilter { url: Some(url(number)), ..all() };
        store.error_groups(&filter).await.map(|found| found.groups.len())
    };
    assert_eq!(of(0).await?, 1);
    store.prune_attempts(at(0), 100_000).await?;
    for (number, groups) in [(0, 0), (499, 0), (500, 1), (many - 1, 1)] {
        assert_eq!(of(number).await?, groups, "{number}");
    }
    for _ in 0..=many / 1_000 {
        store.prune_attempts(at(many - 3), 100_000).await?;
    }
    assert_eq!(store.error_groups(&all()).await?.groups.len(), 3);
    Ok(())
}

/// Goal: an endpoint with ever new texts takes no room from others. Method: its errors come in one
/// batch and in several, some of them known ones.
pub(super) async fn the_errors_of_one_url_are_bounded(place: Place) -> Kept {
    let store = place.open().await?;
    let letter = |number: u64| char::from(b'g' + u8::try_from(number % 16).unwrap_or(0));
    let text = |number: u64| format!("no user {}{}", letter(number / 16), letter(number));
    let limit = MAX_ERROR_GROUPS_PER_URL as u64;
    let batch = |numbers: std::ops::Range<u64>| -> Vec<_> {
        numbers.map(|number| failed(number, URL, &text(number))).collect()
    };
    for numbers in [0..limit - 10, 0..limit + 20, limit..limit + 30] {
        store.record_attempts(&batch(numbers), None).await?;
    }
    store.record_attempts(&[failed(999, "https://b.example/", "busy")], None).await?;
    let filter = ErrorFilter { url: Some(URL.to_owned()), ..all() };
    let groups = store.error_groups(&filter).await?.groups;
    assert_eq!(groups.len() as u64, limit + 1);
    let count = groups.iter().map(|(_, group)| group.count).sum::<u64>();
    assert_eq!(count, limit - 10 + limit + 20 + 30);
    let (_, other) =
        groups.iter().find(|(_, group)| group.kind.is_other()).ok_or("there are others")?;
    assert_eq!((other.count, other.kind.outcome.as_str()), (50, "other errors"));
    assert_eq!((other.first, other.last), (at(limit), at(limit + 29)));
    Ok(())
}
