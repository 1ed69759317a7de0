//! A random mixture of faults, for as long as requested.
//!
//! `make chaos` runs it for a minute, `make chaos FOR=3600 SEED=7` for an hour with the faults of an
//! earlier run: the same seed gives the same faults in the same order, after the same pauses.

use std::{env, time::Duration};

use lapin::options::ExchangeDeleteOptions;
use tokio::time::Instant;

use crate::support::{
    load::Pace,
    node::{Node, queues_settle},
    process::Process,
    proxy::Proxy,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Events per second: what an hour of them leaves in the endpoint's record fits into memory.
const PACE: u32 = 100;
const SECONDS: u64 = 30;
const PAUSE_MS: std::ops::Range<u64> = 500..4_000;
/// The duration of faults that pass by themselves.
const FAULT_MS: std::ops::Range<u64> = 500..8_000;

/// The faults.
#[derive(Clone, Copy, Debug)]
enum Fault {
    WorkerKilled,
    WorkerRestarted,
    BrokerKilled,
    BrokerRestarted,
    MemoryAlarm,
    ConnectionsCut,
    ConnectionsSilent,
    ConnectionsHalfOpen,
    ExchangeDeleted,
}

const FAULTS: [Fault; 9] = [
    Fault::WorkerKilled,
    Fault::WorkerRestarted,
    Fault::BrokerKilled,
    Fault::BrokerRestarted,
    Fault::MemoryAlarm,
    Fault::ConnectionsCut,
    Fault::ConnectionsSilent,
    Fault::ConnectionsHalfOpen,
    Fault::ExchangeDeleted,
];

#[expect(clippy::disallowed_methods, reason = "this is how `make chaos` passes its parameters")]
fn parameter(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`; it must be a number")))
}

/// A worker behind a proxy, at a broker of its own.
struct Theatre {
    node: Node,
    proxy: Proxy,
    stage: Stage,
}

impl Theatre {
    async fn open() -> Self {
        let node = Node::start("fault-chaos").await;
        let proxy = Proxy::to(&node.url).await;
        let stage = Stage::with(node.url.clone(), "broker.heartbeat = \"2s\"").await;
        Self { node, proxy, stage }
    }

    fn worker(&self) -> Process {
        self.stage.site.start_with(&[("HOMING__BROKER__URL", &self.proxy.url())])
    }

    async fn happen(&mut self, fault: Fault, lasts: Duration, mut worker: Process) -> Process {
        match fault {
            Fault::WorkerKilled => {
                worker.kill_9();
                worker = self.worker();
            }
            Fault::WorkerRestarted => {
                worker.terminate();
                worker.ended().await;
                worker = self.worker();
            }
            Fault::BrokerKilled => {
                self.node.kill_9().await;
                self.node.up().await;
            }
            Fault::BrokerRestarted => {
                self.node.stop().await;
                self.node.up().await;
            }
            Fault::MemoryAlarm => {
                let threshold = ["set_vm_memory_high_watermark", "absolute"];
                self.node.ctl(&[&threshold[..], &["1000"]].concat()).await;
                // The fault itself.
                tokio::time::sleep(lasts).await;
                self.node.ctl(&[&threshold[..], &["2GB"]].concat()).await;
            }
            Fault::ConnectionsCut => self.proxy.cut(),
            Fault::ConnectionsSilent => {
                self.proxy.stall();
                // The fault itself.
                tokio::time::sleep(lasts).await;
                self.proxy.flow();
            }
            Fault::ConnectionsHalfOpen => self.proxy.half_open(),
            Fault::ExchangeDeleted => {
                let route = self.stage.site.corner.topology.names().route();
                let publisher = self.stage.site.publisher().await;
                let deleting = publisher
                    .channel()
                    .exchange_delete(route.into(), ExchangeDeleteOptions::default());
                deleting.await.expect("an operator deletes an exchange");
            }
        }
        worker
    }
}

/// Goal: faults that come together, or before the last one is over, lose nothing either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_mixture_of_faults_loses_nothing() {
    let seconds = parameter("HOMING_CHAOS_SECONDS").unwrap_or(SECONDS);
    let seed = parameter("HOMING_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("chaos for {seconds} s; again with: make chaos FOR={seconds} SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut theatre = Theatre::open().await;
    let load = theatre.stage.load_at(Pace::steady(PACE));
    let mut worker = theatre.worker();
    queues_settle().await;
    theatre.stage.wait_for_more(100).await;

    let started = Instant::now();
    let mut happened = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        let fault = FAULTS[random.usize(..FAULTS.len())];
        let lasts = Duration::from_millis(random.u64(FAULT_MS));
        let pause = Duration::from_millis(random.u64(PAUSE_MS));
        println!("{:>7.1} s  {fault:?}", started.elapsed().as_secs_f64());
        worker = theatre.happen(fault, lasts, worker).await;
        happened += 1;
        // The random time to the next fault.
        tokio::time::sleep(pause).await;
    }
    let over = Instant::now();
    theatre.stage.wait_for_more(100).await;
    let silence = theatre.stage.longest_silence(over);

    let account = theatre.stage.account(load, worker).await;
    let fault = format!("chaos: {happened} faults in {seconds} s");
    account.assert_whole(&fault, silence, happened * MAX_IN_FLIGHT);
}
