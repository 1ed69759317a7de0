//! The example that writes files: any job has homing's schedule, circuits and parking.

use std::{fs, path::Path, time::Duration};

use homing_broker::settings::BrokerSettings;
use homing_delivery::{
    CancellationToken, Pool,
    settings::{CircuitSettings, ScheduleSettings},
};
use homing_domain::{circuit::StateName, url::EndpointUrl};
use homing_store::settings::StoreSettings;

use crate::support::{broker::Raw, eventually, holds, installation::Installation};

#[path = "../../examples/any_job.rs"]
#[expect(dead_code, reason = "its main is for those who run it")]
mod example;

const TARGET: &str = "files";
const WAITS: [u64; 40] = [300; 40];

/// A pool for the example's handler, with the queues and the store of `installation`.
async fn pool(installation: &Installation, folder: &Path) -> Pool {
    let corner = &installation.corner;
    let broker =
        format!("url = {:?}\nprefix = {:?}\nnew_queue_wait = \"0s\"", corner.url, corner.prefix);
    let store = format!("url = {:?}", installation.settings.store.url);
    let circuit = CircuitSettings {
        open_at_consecutive_failures: 3,
        probe_interval: Duration::from_secs(1),
        probe_first: Duration::ZERO,
        ..installation.settings.circuit.clone()
    };
    let files = example::Files(folder.to_owned());
    let pool = Pool::builder(files)
        .broker(BrokerSettings::from_toml(&broker).expect("the settings make sense"))
        .store(StoreSettings::from_toml(&store).expect("the settings make sense"))
        .schedule(ScheduleSettings::only("fast", &WAITS.map(Duration::from_millis)))
        .circuit(circuit)
        .open()
        .await
        .expect("the pool opens");
    let first = pool.subscribe("files.#", TARGET).await.expect("it is sound");
    let again = pool.subscribe("files.#", TARGET).await.expect("it is sound");
    assert_eq!(first, again, "one subscription, however often it is asked for");
    pool
}

/// The contents of the files in `folder`, sorted.
fn written(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.expect("it can be listed").path());
    let written = paths.filter(|path| !path.ends_with("paused"));
    let mut texts: Vec<_> = written.map(|path| fs::read_to_string(path).expect("text")).collect();
    texts.sort_unstable();
    texts
}

async fn wait_until_written(folder: &Path, texts: &[&str]) {
    eventually(async || {
        let written = written(folder);
        holds(written == texts, format!("written is {written:?}"))
    })
    .await;
}

async fn wait_for_state(installation: &Installation, state: StateName) {
    let url = EndpointUrl::target(TARGET).expect("a key");
    eventually(async || {
        let circuit = installation.parts.circuits.get(&url).await.expect("the store answers");
        holds(circuit.state.name() == state, format!("{circuit:?}"))
    })
    .await;
}

/// Goal: each outcome of a handler does what it says. Method: a folder that is there, is paused, and
/// is missing.
#[tokio::test]
async fn a_job_is_done_tried_again_snoozed_or_cancelled() {
    let installation = Installation::new(&WAITS).await;
    let parent = tempfile::tempdir().expect("a folder can be made");
    let folder = parent.path().join("files");
    let stop = CancellationToken::new();
    let pool = pool(&installation, &folder).await;
    let running = async {
        let publish = async |id: &str, text: &str| {
            installation.publisher.publish(Raw::new("files.new", id, text)).await;
        };
        // The folder is missing: two jobs fail, the circuit opens at the third failure.
        publish("e1", "one").await;
        publish("e2", "two").await;
        wait_for_state(&installation, StateName::Open).await;
        fs::create_dir(&folder).expect("it can be made");
        wait_until_written(&folder, &["one", "two"]).await;
        wait_for_state(&installation, StateName::Closed).await;

        publish("e3", "").await;
        let cancelled = installation.wait_for_parked(1).await.remove(0);
        assert_eq!((cancelled.reason.as_str(), cancelled.attempts), ("cancelled", 1));
        let why = cancelled.last_outcome.as_deref();
        assert_eq!(why, Some("cancelled: there is nothing to write"));

        fs::write(folder.join("paused"), "").expect("it can be written");
        publish("e4", "four").await;
        let snoozing = installation.names().wait(Duration::from_secs(1));
        installation.wait_for_depth(&snoozing, 1).await;
        fs::remove_file(folder.join("paused")).expect("it is there");
        wait_until_written(&folder, &["four", "one", "two"]).await;
        installation.assert_nothing_waits().await;
        stop.cancel();
    };
    tokio::join!(pool.run(stop.clone()), running);
    assert_eq!(installation.wait_for_parked(1).await.len(), 1);
}

#[test]
fn the_documentation_shows_the_example() {
    let document = include_str!("../../docs/library.md");
    let block = document.split("\n```rust ").nth(1).expect("it is shown");
    let (_info, block) = block.split_once('\n').expect("the fence ends");
    let (shown, _) = block.split_once("\n```").expect("the block ends");
    assert!(include_str!("../../examples/any_job.rs").contains(shown), "docs/library.md");
}
