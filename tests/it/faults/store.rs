//! A store that does not answer, or cannot write, stops no delivery.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use sqlx::{Connection, Executor, SqliteConnection};
use tokio::time::Instant;

use crate::support::{
    broker::{self, Raw},
    eventually, holds,
    process::Site,
    receiver::Receiver,
    stage::{MAX_IN_FLIGHT, Stage},
};

/// Longer than the store waits for a lock, and than any question to it may take.
const LOCKED: Duration = Duration::from_secs(12);
/// Deliveries hardly notice.
const SILENT_AT_MOST: Duration = Duration::from_secs(4);

/// Goal: while the store cannot be written, events are delivered by what is known. Method: another
/// program holds the database's lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_store_stops_no_delivery() {
    let stage = Stage::at(broker::url()).await;
    let worker = stage.site.start();
    let load = stage.load();
    stage.wait_for_more(500).await;

    let locked = Instant::now();
    let file = stage.site.folder.path().join("homing.db");
    let url = format!("sqlite:{}", file.display());
    let mut other = SqliteConnection::connect(&url).await.expect("another program opens it");
    other.execute("BEGIN EXCLUSIVE").await.expect("it takes the lock");
    // The fault itself.
    tokio::time::sleep(LOCKED).await;
    other.execute("ROLLBACK").await.expect("it gives the lock back");
    let silence = stage.silence_after_more(locked).await;

    assert!(stage.logged("store.unavailable") > 0, "the store was needed meanwhile");
    let account = stage.account(load, worker).await;
    account.assert_whole("store locked for 12 s", silence, MAX_IN_FLIGHT);
    assert!(silence < SILENT_AT_MOST, "nothing was delivered for {silence:?}");
}

/// Goal: a process that starts while the store cannot be written delivers what waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_store_keeps_no_process_from_starting() {
    let receiver = Receiver::accepting().await;
    let site = Site::new(&[50], "");
    site.subscribe(&receiver.url("/"), "#", &[]);
    site.run(&["topology", "apply"]);
    site.publisher().await.publish(Raw::new("t", "e1", "{}")).await;
    let url = format!("sqlite:{}", site.folder.path().join("homing.db").display());
    let mut other = SqliteConnection::connect(&url).await.expect("another program opens it");
    other.execute("BEGIN IMMEDIATE").await.expect("it takes the lock");

    let mut worker = site.start();
    receiver.wait_for(1).await;
    other.execute("ROLLBACK").await.expect("it had the lock all the time");
    worker.terminate();
    assert_eq!(worker.ended().await.code(), Some(0), "the worker stops politely");
    site.wait_until_settled().await;
    assert_eq!(receiver.count(), 1);
}

/// Goal: a disk that is full stops nothing, and is found again when there is room. Method: the
/// database on a small disk that only the worker sees, with room for the log of this test's
/// attempts, filled to the last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_no_delivery() {
    let stage = Stage::at(broker::url()).await;
    let disk = stage.site.folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder can be made");
    let prepare = format!(
        "mount -t tmpfs -o size=64m tmpfs {disk} && cp homing.db* {disk}",
        disk = disk.display()
    );
    let mut command = stage.site.isolated(&prepare);
    command.env("HOMING__STORE__URL", format!("sqlite:{}/homing.db", disk.display()));
    let worker = stage.site.spawn(command);
    let load = stage.load();
    stage.wait_for_more(500).await;

    let full = Instant::now();
    let inside = PathBuf::from(format!("/proc/{}/root{}", worker.id(), disk.display()));
    let filler = inside.join("filler");
    let mut file = fs::File::create(&filler).expect("the worker's disk can be reached");
    for size in [1 << 16, 1 << 9] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    let failures = || stage.logged("store.unavailable");
    eventually(async || holds(failures() > 2, "the worker does not notice the full disk")).await;
    fs::remove_file(&filler).expect("there is room again");
    drop(file);
    let silence = stage.silence_after_more(full).await;

    wait_until_the_store_is_well(&stage).await;
    let published = load.finish().await;
    stage.wait_until_quiet().await;
    // The disk ends with the worker; what is parked is in the store there.
    for file in ["homing.db", "homing.db-wal"] {
        fs::copy(inside.join(file), stage.site.folder.path().join(file)).expect("it is there");
    }
    let account = stage.account_of(&published, worker).await;
    account.assert_whole("disk of the store full", silence, MAX_IN_FLIGHT);
    assert!(silence < SILENT_AT_MOST, "nothing was delivered for {silence:?}");
}

/// Waits until the worker has not complained of its store for three seconds.
async fn wait_until_the_store_is_well(stage: &Stage) {
    let (mut failures, mut since) = (0, Instant::now());
    eventually(async || {
        let now = stage.logged("store.unavailable");
        if std::mem::replace(&mut failures, now) != now {
            since = Instant::now();
        }
        let quiet = since.elapsed() >= Duration::from_secs(3);
        holds(quiet, format!("the store failed {failures} times, the last time just now"))
    })
    .await;
}
