//! Figures, not tests: how long deliveries take while one of ten endpoints hangs, and while none
//! does. `make bench` starts a broker for it.
//!
//! Both cases run in turns in the same process, because machines are noisy: the ratio counts.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    clippy::print_stderr,
    unused_crate_dependencies,
    dead_code,
    reason = "a program that prints figures, with the parts of the tests"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use support::{
    broker::Raw,
    installation::Installation,
    receiver::{Receiver, Reply},
};

const ENDPOINTS: usize = 10;
const EVENTS_PER_SECOND: usize = 100;
const SECONDS: usize = 10;
const ROUNDS: usize = 3;

/// Milliseconds from before the publish to the arrival at the nine endpoints that are well.
struct Latencies {
    p50_ms: f64,
    p99_ms: f64,
}

async fn round(hangs: bool) -> Latencies {
    let installation = Installation::new(&[3_600_000]).await;
    let hung = Receiver::answering(|_| Reply::status(200).after(Duration::from_secs(3_600))).await;
    let well = Receiver::accepting().await;
    let tenth = if hangs { &hung } else { &well };
    installation.subscribe_all(&tenth.url("/tenth")).await;
    for number in 1..ENDPOINTS {
        installation.subscribe_all(&well.url(&format!("/{number}"))).await;
    }
    let running = installation.start();
    installation.wait_for_consumers(1).await;

    let mut published = HashMap::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / 100);
    let events = EVENTS_PER_SECOND * SECONDS;
    let body = vec![b' '; 1_000];
    for number in 0..events {
        clock.tick().await;
        let id = format!("e{number}");
        published.insert(id.clone(), Instant::now());
        let mut body = body.clone();
        body.extend(id.as_bytes());
        installation.publisher.publish(Raw::new("t", &id, body)).await;
    }
    let expected = events * if hangs { ENDPOINTS - 1 } else { ENDPOINTS };
    let requests = well.wait_for(expected).await;
    running.stop().await;

    let nine = requests.iter().filter(|request| request.path != "/tenth");
    let mut latencies: Vec<_> = nine
        .filter_map(|request| {
            let id = String::from_utf8_lossy(&request.body).trim().to_owned();
            Some((request.at - *published.get(&id)?).as_secs_f64() * 1_000.0)
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    let at = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
    Latencies { p50_ms: at(50).unwrap_or(0.0), p99_ms: at(99).unwrap_or(0.0) }
}

#[tokio::main]
async fn main() {
    println!("1,000 deliveries per second in all, ten endpoints; latency of nine of them in ms");
    println!(
        "{:<8} {:>18} {:>18} {:>10}",
        "round", "none hangs p50/p99", "one hangs p50/p99", "p99 ratio"
    );
    let mut ratios = Vec::new();
    for number in 1..=ROUNDS {
        let none = round(false).await;
        let one = round(true).await;
        let ratio = one.p99_ms / none.p99_ms;
        println!(
            "{number:<8} {:>9.1} {:>8.1} {:>9.1} {:>8.1} {ratio:>10.2}",
            none.p50_ms, none.p99_ms, one.p50_ms, one.p99_ms
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median of the ratios: {:.2}", ratios.get(ROUNDS / 2).copied().unwrap_or(0.0));
}
