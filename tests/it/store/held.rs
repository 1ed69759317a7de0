//! Promises about slots.

use std::{collections::BTreeSet, sync::Arc};

use homing_domain::{time::UnixMillis, url::EndpointUrl};
use homing_store::{HeldSlot, SLOT_REST, Store};

use super::{Kept, Place};

const START: i64 = 1_700_000_000_000;

fn at(ms: i64) -> UnixMillis {
    UnixMillis::new(START + ms)
}

fn url(path: impl std::fmt::Display) -> EndpointUrl {
    format!("https://example.com/{path}").parse().expect("a URL")
}

fn held(slot: u16, path: &str, since: UnixMillis) -> HeldSlot {
    HeldSlot { slot, url: Some(url(path)), since }
}

pub(crate) async fn a_slot_belongs_to_one_url_and_a_url_has_one_slot(place: Place) -> Kept {
    let (store, other) = (place.open().await?, place.open().await?);
    assert_eq!(store.held_slots("p").await?, []);
    assert_eq!(store.take_slot("p", &url("a"), 2, at(1)).await?, Some(held(0, "a", at(1))));
    assert_eq!(other.take_slot("p", &url("a"), 2, at(2)).await?, Some(held(0, "a", at(1))));
    assert_eq!(other.take_slot("p", &url("b"), 2, at(3)).await?, Some(held(1, "b", at(3))));
    assert_eq!(store.take_slot("p", &url("c"), 2, at(4)).await?, None, "all are taken");
    assert_eq!(store.take_slot("p", &url("b"), 1, at(5)).await?, Some(held(1, "b", at(3))));
    assert_eq!(store.take_slot("p", &url("c"), 0, at(5)).await?, None, "there are none");
    let all = [held(0, "a", at(1)), held(1, "b", at(3))];
    assert_eq!(other.held_slots("p").await?, all);
    assert_eq!(other.held_slots("another").await?, [], "another installation has its own");
    assert_eq!(other.take_slot("another", &url("c"), 2, at(6)).await?, Some(held(0, "c", at(6))));
    store.close().await;
    assert_eq!(place.open().await?.held_slots("p").await?, all);
    Ok(())
}

pub(crate) async fn a_slot_rests_after_it_was_given_back_and_goes_to_another(place: Place) -> Kept {
    let store = place.open().await?;
    let first = store.take_slot("p", &url("a"), 1, at(1)).await?.expect("one is free");
    let outdated = HeldSlot { since: at(0), ..first.clone() };
    assert!(!store.give_back_slot("p", &outdated, at(9)).await?, "it is another taking");
    assert!(!store.give_back_slot("p", &held(0, "b", at(1)), at(9)).await?, "it is another's");
    assert!(!store.give_back_slot("another", &first, at(9)).await?);
    assert!(store.give_back_slot("p", &first, at(9)).await?);
    assert!(!store.give_back_slot("p", &first, at(9)).await?, "it was given back");
    let free = HeldSlot { slot: 0, url: None, since: at(9) };
    assert_eq!(store.held_slots("p").await?, [free]);

    let rested = at(9).plus(SLOT_REST);
    let before = UnixMillis::new(rested.get() - 1);
    assert_eq!(store.take_slot("p", &url("b"), 1, before).await?, None, "it rests");
    assert_eq!(store.take_slot("p", &url("b"), 1, rested).await?, Some(held(0, "b", rested)));
    Ok(())
}

/// Goal: where many take slots at once, none has two owners and no URL has two.
pub(crate) async fn of_many_that_take_slots_each_url_gets_one(place: Place) -> Kept {
    const URLS: usize = 12;
    const SLOTS: u16 = 8;
    let handles = [place.open().await?, place.open().await?];
    let mut taking = tokio::task::JoinSet::new();
    for (number, store) in (0..4 * URLS).zip(handles.iter().cycle()) {
        let store: Arc<dyn Store> = Arc::clone(store);
        let url = url(number % URLS);
        taking.spawn(async move {
            // Where others are always faster, none is found: a worker asks again.
            for _ in 0..50 {
                let taken = store.take_slot("p", &url, SLOTS, at(1)).await?;
                if taken.is_some() || store.held_slots("p").await?.len() == usize::from(SLOTS) {
                    return Ok::<_, homing_store::StoreError>(taken);
                }
            }
            Ok(None)
        });
    }
    let mut given = BTreeSet::new();
    for taken in taking.join_all().await {
        given.extend(taken?.map(|held| (held.slot, held.url.map(|url| url.as_str().to_owned()))));
    }
    let slots: BTreeSet<_> = given.iter().map(|(slot, _)| *slot).collect();
    let urls: BTreeSet<_> = given.iter().map(|(_, url)| url.clone()).collect();
    assert_eq!((slots.len(), urls.len()), (given.len(), given.len()), "{given:?}");
    assert_eq!(given.len(), usize::from(SLOTS), "{given:?}");
    Ok(())
}
