//! A pool of worker processes that share nothing but a broker and a PostgreSQL database.

use std::{
    collections::HashMap,
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use homing_domain::encryption_key::EncryptionKey;
use tokio::time::Instant;

use crate::support::{
    PATIENCE,
    database::{Database, Server},
    process::Site,
    receiver::{Receiver, Reply},
};

/// `[store]` of all processes of a pool.
fn store_settings(url: &str) -> String {
    let key = EncryptionKey::from_bytes([7; 32]).reveal();
    format!("store.url = \"{url}\"\nstore.encryption_keys = [\"{key}\"]\n")
}

/// `homing publish`, while it publishes; killed when dropped.
struct Publishing(Child);

impl Publishing {
    /// Events `0..count` with this topic, whose bodies are their numbers.
    fn start(site: &Site, topic: &str, count: usize) -> Self {
        let file = site.folder.path().join(format!("{topic}.jsonl"));
        let lines: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        fs::write(&file, lines.join("\n")).expect("the events can be written");
        let file = file.to_str().expect("a path of ASCII");
        let mut publish = site.command(&["publish", "--topic", topic, file]);
        let child = publish.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        Self(child.expect("the program can be run"))
    }

    fn ended_well(mut self) {
        assert!(self.0.wait().expect("it ends").success(), "not everything was published");
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Arrivals of each event, by its body.
fn arrived(receiver: &Receiver) -> HashMap<Vec<u8>, usize> {
    let mut arrived = HashMap::new();
    for body in receiver.bodies() {
        *arrived.entry(body.to_vec()).or_default() += 1;
    }
    arrived
}

/// Waits until `count` different events have arrived, as long as some arrive.
async fn wait_for_events(receiver: &Receiver, count: usize) -> HashMap<Vec<u8>, usize> {
    let (mut seen, mut deadline) = (0, Instant::now() + PATIENCE);
    loop {
        let arrived = arrived(receiver);
        if arrived.len() >= count {
            return arrived;
        }
        if arrived.len() > seen {
            (seen, deadline) = (arrived.len(), Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < deadline, "{seen} of {count} events arrived");
        // Looks again: the deadline moves with each event.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The circuit of `url` in the store.
fn endpoint(site: &Site, url: &str) -> serde_json::Value {
    let shown = site.run(&["--json", "endpoints", "get", url]);
    serde_json::from_str(&shown).expect("JSON")
}

/// Goal: what one machine promises, four keep together, and they go easy on the database: what they ask of
/// it grows with time, not with deliveries. Method: one of four is killed while they deliver; then
/// the account.
#[tokio::test(flavor = "multi_thread")]
async fn four_processes_deliver_everything_when_one_of_them_is_killed() {
    const EVENTS: usize = 10_000;
    const MAX_IN_FLIGHT: usize = 128;
    /// Of all four: to look for changes and to write the log each second, to merge counts and to tell
    /// figures every five (10 a second in all), and to start and to end (200, of which each of the
    /// history, the ledger and the audit is a part); twice that, because a busy machine ends and
    /// begins more slowly than it counts.
    const MAX_TRANSACTIONS_PER_SECOND: u64 = 20;
    const MAX_TRANSACTIONS_AROUND: u64 = 400;
    let database = Database::new().await;
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(5))).await;
    let settings =
        format!("{}worker.max_in_flight = {MAX_IN_FLIGHT}\n", store_settings(&database.url()));
    let site = Site::new(&[100, 200, 300], &settings);
    site.run(&["topology", "apply"]);
    site.subscribe(&receiver.url("/"), "t", &[]);
    let (before, began) = (database.transactions().await, Instant::now());
    let mut pool: Vec<_> = (0..4).map(|_| site.start()).collect();
    site.wait_for_consumers(4).await;

    let publishing = Publishing::start(&site, "t", EVENTS);
    wait_for_events(&receiver, EVENTS / 2).await;
    pool.remove(0).kill_9();
    publishing.ended_well();
    let arrived = wait_for_events(&receiver, EVENTS).await;
    site.wait_until_settled().await;
    for mut process in pool {
        process.terminate();
        process.ended().await;
    }

    let transactions = (database.transactions().await - before).unsigned_abs();
    let seconds = began.elapsed().as_secs();

    let requests: usize = self::arrived(&receiver).values().sum();
    let repeated = requests - EVENTS;
    let parked = site.parked().len();
    let counted = endpoint(&site, &receiver.url("/"))["successes"].as_u64();
    println!(
        "{EVENTS} published, {requests} requests, {repeated} repeated, {counted:?} counted, \
         {transactions} transactions in {seconds} s"
    );
    let bound = seconds * MAX_TRANSACTIONS_PER_SECOND + MAX_TRANSACTIONS_AROUND;
    assert!(transactions <= bound, "{transactions} transactions in {seconds} s");
    assert_eq!((arrived.len(), parked), (EVENTS, 0));
    assert!(repeated <= MAX_IN_FLIGHT, "{repeated} repetitions; {MAX_IN_FLIGHT} were in flight");
    let counted = counted.and_then(|counted| usize::try_from(counted).ok()).expect("a count");
    assert!(counted > EVENTS / 2 && counted <= requests, "{counted} counted");
}

/// Goal: the store is in no delivery's way. Method: its server is ended in the middle of load, while
/// an endpoint begins to fail; then started again.
#[tokio::test(flavor = "multi_thread")]
async fn delivery_goes_on_while_the_database_server_is_away() {
    const EVENTS: usize = 6_000;
    let server = Server::new();
    let well = Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(20))).await;
    let dying = Receiver::failing().await;
    // The settings of a test leave circuits closed unless they speak of them.
    let settings = format!(
        "{}worker.max_in_flight = 32\ncircuit.open_above_attempts = 20\n\
         circuit.probe_interval = \"1h\"\n",
        store_settings(server.url())
    );
    let site = Site::new(&[60_000], &settings);
    site.run(&["topology", "apply"]);
    site.subscribe(&well.url("/"), "t", &[]);
    site.subscribe(&dying.url("/"), "dying", &[]);
    let pool = [site.start(), site.start()];
    site.wait_for_consumers(2).await;

    let publishing = Publishing::start(&site, "t", EVENTS);
    wait_for_events(&well, EVENTS / 10).await;
    server.lose();
    let before = arrived(&well).len();
    Publishing::start(&site, "dying", 40).ended_well();
    let failed = wait_for_events(&dying, 40).await;
    let meanwhile = wait_for_events(&well, before + EVENTS / 10).await.len() - before;
    server.find();
    publishing.ended_well();
    wait_for_events(&well, EVENTS).await;
    site.wait_for_endpoints("open", 1).await;
    for mut process in pool {
        process.terminate();
        process.ended().await;
    }

    println!("{meanwhile} of {EVENTS} events were delivered while the store was away");
    let repeated: Vec<_> = arrived(&well).into_values().filter(|times| *times > 1).collect();
    assert!(repeated.is_empty(), "no worker crashed, so nothing comes twice: {repeated:?}");
    assert_eq!(endpoint(&site, &well.url("/"))["successes"], EVENTS);
    let dead = endpoint(&site, &dying.url("/"));
    assert_eq!((&dead["state"], &dead["failures"]), (&"open".into(), &failed.len().into()));
}
