//! Endpoints that break the protocol in every way are tried again, and lose nothing.

use std::{fs, time::Duration};

use crate::support::{
    account::{Recipient, account},
    broker::{self, Corner},
    eventually, holds,
    installation::millis,
    load::{Load, Pace, number_in},
    process::Site,
    rogue::{Manner, Rogue, Seen},
};

const WAITS: [u64; 3] = [200, 400, 800];

/// Events that it takes for every pair of bad manners to occur ten times.
const EVENTS: usize = 10 * Manner::BAD.len() * Manner::BAD.len();

/// The first two attempts of every event meet a bad manner each, the third is accepted.
fn manner(seen: &Seen) -> Manner {
    let number = usize::try_from(number_in(&seen.body).expect("it is the load's")).expect("small");
    match seen.attempt {
        1 => bad(number),
        2 => bad(number / Manner::BAD.len()),
        _ => Manner::Accepts,
    }
}

fn bad(number: usize) -> Manner {
    *Manner::BAD.iter().cycle().nth(number % Manner::BAD.len()).expect("it goes round")
}

/// Goal: none of the manners counts as a success, and none stops anything. Method: every pair of
/// bad manners, under load; stalls are bounded by a short deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_breaks_the_protocol_in_every_way_loses_nothing() {
    let rogue = Rogue::behaving(manner).await;
    let settings = "endpoint.deadline = \"2s\"\nendpoint.connect_deadline = \"1s\"\n\
                    endpoint.max_concurrency = 256";
    let site = Site::at(Corner::at(broker::url(), &millis(&WAITS)), &WAITS, settings);
    site.run(&["topology", "apply"]);
    let subscription = site.subscribe(&rogue.url(), "#", &[]);
    let recipient = Recipient { path: "/", subscription, wants: |_| true };
    let mut worker = site.start();
    let load = Load::start(&site.corner, Pace::steady(200), 0);
    wait_for(&rogue, |attempt| attempt == 1, EVENTS).await;
    let published = load.finish().await;
    wait_for(&rogue, |attempt| attempt > 2, published.confirmed.len()).await;
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0));
    let account = account(&site, &published, &[recipient], &rogue.seen()).await;
    let fault = "endpoint resets, stalls, sends garbage, never ends";
    // An answer behind the deadline counts as none, and on a busy machine one may be so late.
    let log = fs::read_to_string(site.log()).expect("there is a log");
    account.assert_whole(fault, Duration::ZERO, log.lines().filter(|line| is_late(line)).count());
}

/// True if a line of the log is a failure of an attempt that was accepted.
fn is_late(line: &str) -> bool {
    let attempt = line.split_once("delivery.attempt=").map(|(_, attempt)| attempt);
    let attempt = attempt.and_then(|attempt| attempt.split(' ').next()?.parse::<u32>().ok());
    line.contains("delivery.attempted") && attempt.is_some_and(|attempt| attempt > 2)
}

/// Waits until `count` attempts with such a number have arrived.
async fn wait_for(rogue: &Rogue, is_one: fn(u32) -> bool, count: usize) {
    eventually(async || {
        let arrived = rogue.seen().iter().filter(|seen| is_one(seen.attempt)).count();
        holds(arrived >= count, format!("{arrived} of {count} attempts arrived"))
    })
    .await;
}
