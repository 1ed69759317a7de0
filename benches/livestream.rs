//! Figures, not tests: how many records a second one source publishes, how much memory that takes,
//! and whether memory grows while the broker takes nothing.
//!
//! The simulator sends hits of 1.9 kB, packed, as fast as they are read; the source is a process of
//! its own, so that its memory is measured alone. `cargo bench --bench livestream`
//! needs `HOMING_TEST_AMQP_URL`, or `make bench`. Arguments: seconds to measure (10). With
//! `HOMING_BENCH_BLOCK` set to a command that makes the broker refuse publishes, and
//! `HOMING_BENCH_UNBLOCK` to one that ends that, it also runs them, a minute apart.

#![expect(
    clippy::print_stdout,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    unused_crate_dependencies,
    dead_code,
    reason = "a program that prints figures, with the parts of the tests"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::{env, fs, process::Command, time::Duration};

use livestream_simulator::{Behaviour, Rate, Simulator};
use support::process::{Process, Site};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

const BLOCKED: Duration = Duration::from_secs(60);

/// Resident memory now and at its highest, in MiB.
fn memory(process: &Process) -> [f64; 2] {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    ["VmRSS:", "VmHWM:"].map(|field| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1_024.0
    })
}

/// Runs the command that the variable holds; whether there is one.
fn run(variable: &str) -> bool {
    let Ok(command) = env::var(variable) else { return false };
    let ended = Command::new("sh").args(["-c", &command]).status().expect("a shell");
    assert!(ended.success(), "{variable} failed");
    true
}

#[tokio::main]
async fn main() {
    let seconds = env::args().find_map(|text| text.parse().ok()).unwrap_or(10);
    let behaviour = Behaviour { rate: Rate::Unlimited, ..Behaviour::default() };
    let simulator = Simulator::new(behaviour);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let served = simulator.clone();
    let serving = tokio::spawn(async move {
        served.serve(listener, CancellationToken::new()).await.expect("the simulator serves");
    });
    let site = Site::new(
        &[1_000],
        &format!(
            "source.livestream.main.url = \"http://{address}/api/1/stream/simulated\"\n\
             source.livestream.main.token_url = \"http://{address}/ims/token/v3\"\n\
             source.livestream.main.client_id = \"id\"\n\
             source.livestream.main.client_secret = \"secret\"\n"
        ),
    );
    // No consumer, as if all workers were busy: what is published piles up at the broker.
    let process = site.spawn(site.command(&["run", "--role", "source"]));
    while simulator.connected() == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (begun, before) = (Instant::now(), simulator.sent());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let sent = u32::try_from(simulator.sent() - before).expect("not so many");
    let rate = f64::from(sent) / begun.elapsed().as_secs_f64();
    let [now, highest] = memory(&process);
    println!("{rate:.0} records/s over {seconds} s; memory {now:.1} MiB, at most {highest:.1} MiB");

    if run("HOMING_BENCH_BLOCK") {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (begun, sent) = (memory(&process), simulator.sent());
        tokio::time::sleep(BLOCKED).await;
        let (ended, more) = (memory(&process), simulator.sent() - sent);
        run("HOMING_BENCH_UNBLOCK");
        println!(
            "blocked for {} s: {more} records read; memory from {:.1} to {:.1} MiB",
            BLOCKED.as_secs(),
            begun[0],
            ended[0]
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        let goes_on = simulator.sent() - sent - more;
        println!("10 s later: {goes_on} records read; {} connects", simulator.connects().len());
    }
    drop(process);
    serving.abort();
}
