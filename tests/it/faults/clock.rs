//! The machine's clock jumps by an hour, there and back, and no delivery is the worse for it.

use std::{fs, path::PathBuf, time::Duration};

use crate::support::{
    broker,
    receiver::Recorded,
    stage::{MAX_IN_FLIGHT, Stage},
};

const HOUR: i64 = 3_600;

/// Debian's libfaketime, which `make test` installs.
pub(crate) fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("there is a /usr/lib");
    let mut libraries = folders
        .filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .filter(|library| library.exists());
    libraries.next().expect("libfaketime is missing: run `make test`, which installs it")
}

fn timestamp(request: &Recorded) -> i64 {
    let timestamp = request.header("webhook-timestamp").expect("every request has one");
    timestamp.parse().expect("it is a number")
}

/// Goal: waits, deadlines and circuits do not hang on the wall clock. Method: a clock that a file
/// sets, stepped forwards and backwards under load; the signatures' timestamps show that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_by_an_hour_loses_nothing() {
    let stage = Stage::at(broker::url()).await;
    let clock = stage.site.folder.path().join("clock");
    let set = |offset: i64| fs::write(&clock, format!("{offset:+}")).expect("the clock is set");
    set(0);
    let worker = stage.site.start_with(&[
        ("LD_PRELOAD", library().to_str().expect("a plain path")),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a plain path")),
        ("FAKETIME_NO_CACHE", "1"),
        // Only the wall clock jumps; it is all that can.
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    let load = stage.load();
    stage.wait_for_more(300).await;

    let jumped = tokio::time::Instant::now();
    let mut silence = Duration::ZERO;
    for offset in [HOUR, 0, -HOUR, 0] {
        set(offset);
        stage.wait_for_more(300).await;
        silence = silence.max(stage.longest_silence(jumped));
    }

    let timestamps: Vec<_> = stage.receiver.requests().iter().map(timestamp).collect();
    let (Some(first), Some(last)) = (timestamps.iter().min(), timestamps.iter().max()) else {
        panic!("there were requests");
    };
    assert!(last - first >= 2 * HOUR - 60, "the clock did not jump: {first} to {last}");
    let account = stage.account(load, worker).await;
    account.assert_whole("clock steps of an hour, there and back", silence, MAX_IN_FLIGHT);
}
