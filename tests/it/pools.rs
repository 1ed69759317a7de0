//! A pool of worker processes that share nothing but a broker and a PostgreSQL database.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use homing_domain::encryption_key::EncryptionKey;
use tokio::time::Instant;

use crate::{
    secrets::{address, get},
    support::{
        PATIENCE,
        broker::Raw,
        database::{Database, Server},
        holds,
        process::{Process, Site},
        receiver::{Receiver, Reply},
        within,
    },
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

/// The metric that a scaler follows.
async fn workers_wanted(base: &str) -> usize {
    let metrics = get(base, "/metrics", "").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("homing_workers_wanted "));
    line.and_then(|wanted| wanted.parse().ok()).unwrap_or_else(|| panic!("no number: {metrics}"))
}

/// As an autoscaler: starts workers, and ends them by SIGTERM, which is what a pod gets.
struct Scaler<'a> {
    site: &'a Site,
    base: String,
    pool: Vec<Process>,
    /// The numbers that were wanted in the last seconds: of these the highest counts.
    lately: VecDeque<usize>,
    peak: usize,
}

impl Scaler<'_> {
    const MOST: usize = 4;

    /// Looks once. True if the pool has grown to its most, and is down to one worker again.
    async fn follow(&mut self) -> bool {
        let wanted = workers_wanted(&self.base).await.clamp(1, Self::MOST);
        self.lately.push_back(wanted);
        if self.lately.len() > 10 {
            self.lately.pop_front();
        }
        let wanted = self.lately.iter().copied().max().unwrap_or(1);
        while self.pool.len() < wanted {
            self.pool.push(self.site.start());
        }
        self.peak = self.peak.max(self.pool.len());
        while self.pool.len() > wanted {
            let mut ended = self.pool.remove(0);
            ended.terminate();
            assert_eq!(ended.ended().await.code(), Some(0));
        }
        self.peak == Self::MOST && self.pool.len() == 1
    }
}

/// Goal: a pool that grows and shrinks costs no request. Method: a scaler follows
/// `homing_workers_wanted` from one process to four and back, while events come all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_scaled_under_load_repeats_nothing() {
    const BURST: usize = 6_000;
    let database = Database::new().await;
    let receiver =
        Receiver::answering(|_| Reply::status(200).after(Duration::from_millis(20))).await;
    // One worker delivers fewer than 200 a second with four places in a lane.
    let settings = format!(
        "{}worker.max_in_flight = 8\nworker.target_rate = 500\nworker.catch_up = \"1s\"\n",
        store_settings(&database.url())
    );
    let site = Site::new(&[100, 200, 300], &settings);
    site.run(&["topology", "apply"]);
    site.subscribe(&receiver.url("/"), "t", &[]);
    let log = fs::File::create(site.log()).expect("a log can be written");
    let api = site.start_as(&["run", "--role", "api"], Stdio::null(), log.into());
    let base = address(site.folder.path()).await;
    let pool = vec![site.start()];
    site.wait_for_consumers(1).await;
    assert_eq!(workers_wanted(&base).await, 1, "there is nothing to do");

    let steady = site.publisher().await;
    let burst = Publishing::start(&site, "t", BURST);
    let (mut scaler, mut published) =
        (Scaler { site: &site, base, pool, lately: VecDeque::new(), peak: 1 }, BURST);
    within(2 * PATIENCE, async || {
        for _ in 0..5 {
            let id = format!("e{published}");
            steady.publish(Raw::new("t", &id, published.to_string())).await;
            published += 1;
        }
        let is_back = scaler.follow().await;
        holds(is_back, format!("{} workers, {} at most", scaler.pool.len(), scaler.peak))
    })
    .await;
    burst.ended_well();
    let arrived = wait_for_events(&receiver, published).await;
    site.wait_until_settled().await;
    for mut process in scaler.pool.into_iter().chain([api]) {
        process.terminate();
        process.ended().await;
    }

    let requests: usize = self::arrived(&receiver).values().sum();
    println!("{published} published, {requests} requests");
    assert_eq!((arrived.len(), requests, site.parked().len()), (published, published, 0));
}
