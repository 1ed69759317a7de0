//! `homing bench`: figures that make sense, and nothing left behind.

use std::{process::Child, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{Answer, Home};
use crate::support::{PATIENCE, broker::Corner, node::Node, proxy::Proxy};

impl Home {
    fn at(node: &Node) -> Self {
        let corner = Corner::at(node.url.clone(), &[Duration::from_millis(50)]);
        Self { corner, ..Self::new() }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the program starts")
    }

    /// Starts a run that does not end by itself for a minute.
    fn long_bench(&self) -> Child {
        self.start(&["bench", "--json", "--rate", "200", "--events", "12000"])
    }
}

/// Queues and exchanges of the whole broker.
async fn objects(node: &Node) -> [String; 2] {
    let mut listed = Vec::new();
    for list in ["list_queues", "list_exchanges"] {
        let names = node.ctl(&["--quiet", list, "name"]).await;
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        listed.push(names.join("\n"));
    }
    listed.try_into().expect("two lists")
}

/// Waits until a run is in the middle of its load.
async fn wait_for_load(node: &Node) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let queues = node.ctl(&["--quiet", "list_queues", "name", "consumers"]).await;
        let is_consumed = |line: &str| line.ends_with("homing-bench.v1.primary\t1");
        if queues.lines().any(is_consumed) {
            // From the first consumer to the first event there is the warm-up.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return;
        }
        assert!(Instant::now() < deadline, "no worker consumes: {queues}");
    }
}

fn signal(process: &Child, name: &str) {
    let mut kill = std::process::Command::new("kill");
    let sent = kill.arg(name).arg(process.id().to_string()).status();
    assert!(sent.expect("kill can be run").success());
}

#[track_caller]
fn number(figures: &Value, pointer: &str) -> f64 {
    let number = figures.pointer(pointer).and_then(Value::as_f64);
    number.unwrap_or_else(|| unreachable!("no number {pointer} in {figures:#}"))
}

/// Goal: the figures add up. Method: a rate far below what any machine does.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_run_prints_figures_that_make_sense() {
    let home = Home::new();
    let arguments = ["bench", "--json", "--events", "300", "--rate", "100", "--workers", "2"];
    let further = ["--latency", "20", "--size", "2000", "--endpoints", "3"];
    let figures = home.run(&[&arguments[..], &further].concat()).json();
    let of = |pointer: &str| number(&figures, pointer);
    assert_eq!(figures["complete"], true);
    assert_eq!(figures["load"]["size"], 2_000);
    assert_eq!((of("/published"), of("/deliveries")), (300.0, 300.0), "{figures:#}");
    let rate = of("/deliveries_per_second");
    assert!((1.0..=130.0).contains(&rate), "{figures:#}");
    let of_latency = |name: &str| of(&format!("/latency_ms/{name}"));
    assert!(0.0 < of_latency("p50") && of_latency("p50") <= of_latency("p90"), "{figures:#}");
    assert!(of_latency("p90") <= of_latency("p99"), "{figures:#}");
    assert!(of_latency("p99") <= of_latency("max"), "{figures:#}");
    assert!(of("/workers_cpu_ms") > 0.0 && of("/worker_peak_kib") > 5_000.0, "{figures:#}");
    assert!(of("/one_worker_per_second") >= 1.0, "{figures:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn afterwards_the_broker_has_what_it_had_before() {
    let node = Node::start("bench-leaving").await;
    let home = Home::at(&node);
    home.run(&["topology", "apply"]).done();
    home.run_with(&["publish", "--topic", "t"], b"1\n2\n3").done();
    let before = objects(&node).await;

    let reported = home.run(&["bench", "--events", "400"]).done();
    assert!(reported.contains("deliveries per second: 400 of 400 events"), "{reported}");
    assert_eq!(objects(&node).await, before, "after a run to the end");
    let reported = home.run(&["bench", "--rate", "100", "--duration", "2s"]).done();
    assert!(reported.contains("; ended by --duration"), "{reported}");
    assert_eq!(objects(&node).await, before, "after --duration");

    let bench = home.long_bench();
    wait_for_load(&node).await;
    let second = home.run(&["bench", "--events", "10"]);
    assert_eq!(second.code, 1, "{}", second.stdout);
    assert!(second.stderr.contains("another `homing bench` runs"), "{}", second.stderr);
    signal(&bench, "-INT");
    let answer = Answer::from(bench.wait_with_output().expect("it ends"));
    assert_eq!(
        (answer.code, answer.stderr.as_str()),
        (1, "{\"detail\":\"interrupted\",\"exit\":1}\n")
    );
    assert_eq!(objects(&node).await, before, "after Ctrl-C");

    let mut bench = home.long_bench();
    wait_for_load(&node).await;
    signal(&bench, "-KILL");
    bench.wait().expect("it ends");
    assert_ne!(objects(&node).await, before, "a killed run cleans nothing");
    home.run(&["bench", "--events", "10"]).done();
    assert_eq!(objects(&node).await, before, "the next run cleans");

    let more_shards = ["--rate", "200", "--events", "12000", "--set", "broker.shards=4"];
    let mut bench = home.start(&[&["bench", "--json"][..], &more_shards].concat());
    wait_for_load(&node).await;
    signal(&bench, "-KILL");
    bench.wait().expect("it ends");
    assert!(objects(&node).await[0].contains("homing-bench.v1.retry.3"), "it has four shards");
    home.run(&["bench", "--events", "10"]).done();
    assert_eq!(objects(&node).await, before, "the next run cleans shards that it does not need");

    let mut plan = home.start(&["bench", "--plan", "100"]);
    wait_for_load(&node).await;
    signal(&plan, "-KILL");
    plan.wait().expect("it ends");
    home.run(&["bench", "--events", "10"]).done();
    assert_eq!(objects(&node).await, before, "the next run cleans what a killed plan left");

    assert_eq!(home.depth("primary").await, 3, "what was published before");
}

/// Goal: a plan follows from what was measured on this broker, and says what was not. Method: with
/// the broker on this machine; through a proxy, behind which its process cannot be found.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_a_rate_needs_and_what_was_measured() {
    let home = Home::new();
    let arguments = ["bench", "--plan", "50000", "--fan-out", "3", "--fail", "10"];
    let plan = home.run(&[&arguments[..], &["--json"]].concat()).json();
    let of = |pointer: &str| number(&plan, pointer);
    assert!((of("/needs/deliveries_per_second") - 150_000.0).abs() < 1.0, "{plan:#}");
    let attempts = of("/needs/attempts_per_second");
    assert!((attempts - 165_000.0).abs() < 1.0, "one of ten is repeated once: {plan:#}");
    for part in ["single", "fan_out", "failing"] {
        let of = |figure: &str| of(&format!("/measured/{part}/{figure}"));
        assert!(of("events") > 0.0 && of("workers_cpu_ms") > 0.0, "{part}: {plan:#}");
    }
    let cost = |part: &str| of(&format!("/costs/{part}/worker"));
    let [event, delivery, failure] = ["event", "delivery", "failure"].map(cost);
    assert!(event >= 0.0 && delivery >= 0.0 && failure > 0.0, "{plan:#}");
    let failed = attempts * 0.1;
    let ms = 50_000.0 * event + 150_000.0 * delivery + failed * failure;
    let cores = of("/needs/worker_cores");
    assert!((cores - ms / 1e6).abs() < cores / 100.0, "{ms} ms: {plan:#}");
    assert!(of("/needs/workers") >= cores && of("/needs/shards") >= 1.0, "{plan:#}");
    assert!(of("/needs/waiting") > 0.0 && of("/needs/worker_memory_mib") > 5.0, "{plan:#}");

    let proxy = Proxy::to(&home.corner.url).await;
    let shown = home.run(&[&arguments[..], &["--broker", &proxy.url()]].concat()).done();
    for part in
        ["shards", "cores of the broker", "recorded costs", "cannot be found", "extrapolated"]
    {
        assert!(shown.contains(part), "`{part}` is missing: {shown}");
    }
}

/// Goal: nonsense is refused before anything is measured.
#[test]
fn a_plan_for_nonsense_is_refused() {
    let home = Home::new();
    for (arguments, part) in [
        (&["--plan", "0"][..], "above 0"),
        (&["--plan", "NaN"], "above 0"),
        (&["--plan", "20000000"], "at most 10000000"),
        (&["--plan", "10", "--fan-out", "0"], "deliveries of an event"),
        (&["--plan", "10", "--fail", "101"], "0 to 100"),
        (&["--plan", "10", "--fail=-1"], "0 to 100"),
        (&["--plan", "10", "--rate", "5"], "cannot be used with"),
        (&["--fan-out", "3"], "--plan <RATE>"),
    ] {
        let answer = home.run(&[&["bench"], arguments].concat());
        assert_eq!(answer.code, 2, "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(part), "{arguments:?}: {}", answer.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_obstacle_is_reported_with_what_to_do() {
    let node = Node::start("bench-refusing").await;
    let home = Home::at(&node);
    let before = objects(&node).await;
    let refused = |arguments: &[&str], parts: &[&str]| {
        let answer = home.run(&[&["bench", "--events", "100"], arguments].concat());
        assert_ne!(answer.code, 0, "{}", answer.stdout);
        for part in parts {
            assert!(answer.stderr.contains(part), "`{part}` is missing: {}", answer.stderr);
        }
    };
    refused(&["--broker", "amqp://guest:guest@127.0.0.1:1"], &["check `broker.url`"]);
    refused(&["--size", "2000000"], &["`worker.max_event_bytes`"]);
    refused(&["--latency", "5000"], &["`endpoint.deadline`", "--latency"]);

    node.ctl(&["add_user", "narrow", "secret"]).await;
    node.ctl(&["set_permissions", "narrow", "^homing.v1", ".*", ".*"]).await;
    let narrow = node.url.replace("guest:guest", "narrow:secret");
    assert_ne!(narrow, node.url);
    refused(&["--broker", &narrow], &["set_permissions", "homing-bench"]);

    node.ctl(&["set_disk_free_limit", "900GB"]).await;
    refused(&[], &["short of memory or disk", "rabbitmqctl status"]);
    node.ctl(&["set_disk_free_limit", "50MB"]).await;
    assert_eq!(objects(&node).await, before);
}
