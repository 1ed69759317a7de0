//! The metrics for Prometheus are those that homing's documentation, dashboard and alerts are about.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use homing_telemetry::catalogue::{METRICS, MetricKind};

use crate::{
    secrets::{address, get},
    support::{
        broker::Raw,
        clients, eventually,
        process::Site,
        receiver::{Receiver, Reply},
    },
};

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new(clients().join("promtool"));
    command.args(arguments).current_dir(alerts());
    command
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn alerts() -> PathBuf {
    docs().join("alerts")
}

/// Panics with what the command says unless it succeeds.
fn succeeds(mut command: Command) {
    let output = command.output().expect("promtool can be run");
    let reported = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&reported));
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("homing_"));
    words.map(str::to_owned).collect()
}

/// True if there is such a metric; a histogram is asked for by its parts.
fn is_known(name: &str) -> bool {
    METRICS.iter().any(|metric| match metric.kind {
        MetricKind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| name.strip_suffix(part) == Some(metric.name)),
        MetricKind::Counter | MetricKind::Gauge => name == metric.name,
    })
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    for file in ["grafana/homing.json", "alerts/homing.yml", "alerts/homing.test.yml"] {
        let text = fs::read_to_string(docs().join(file)).expect("it is there");
        let names = named(&text);
        assert!(names.len() > 5, "{file} asks for {names:?}");
        let unknown: Vec<_> = names.iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// The pages of the dashboard to which Grafana's panels and the alerts lead.
fn linked() -> BTreeSet<String> {
    let text = |file: &str| fs::read_to_string(docs().join(file)).expect("it is there");
    let (panels, rules) = (text("grafana/homing.json"), text("alerts/homing.yml"));
    let of_panels = panels.split("${homing:raw}").skip(1).filter_map(|rest| rest.split('"').next());
    let of_rules = rules.split("{{ $externalLabels.homing }}").skip(1);
    let of_rules = of_rules.filter_map(|rest| rest.split('\'').next());
    let instances = [
        ("${__field.labels.outcome}", "refused"),
        ("${__field.labels.state}", "open"),
        ("${__field.labels.reason}", "exhausted"),
        ("{{ $labels.reason }}", "exhausted"),
        ("${__field.labels.queue}", "homing.v1.held.0"),
        ("${__from:date:iso}", "2026-11-21T14:35:00.000Z"),
        ("${__to:date:iso}", "2026-11-21T17:35:00.000Z"),
    ];
    let whole = |link: &str| {
        instances.iter().fold(link.to_owned(), |link, (name, value)| link.replace(name, value))
    };
    of_panels.chain(of_rules).map(whole).collect()
}

/// Goal: no label names a URL, so each panel and each alert leads to the page that does.
#[tokio::test]
async fn the_links_of_the_dashboard_and_the_alerts_lead_to_pages() {
    let site = Site::new(&[60_000], "");
    let log = fs::File::create(site.log()).expect("a log can be written");
    let _server = site.start_as(&["run", "--role", "api"], Stdio::null(), log.into());
    let base = address(site.folder.path()).await;
    let links = linked();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        assert!(!link.contains(['$', '{']), "{link} has a variable that the test does not know");
        let page = get(&base, &link, "").await;
        assert!(page.contains("<h1>") && page.contains("Skip to the content"), "{link}: {page}");
        for complaint in ["That did not work", "There is nothing here", "role=\"alert\">`"] {
            assert!(!page.contains(complaint), "{link}: {page}");
        }
        assert!(!page.contains("aria-invalid"), "{link}: a filter is wrong");
    }
}

#[test]
fn the_alerts_fire_when_they_should() {
    succeeds(promtool(&["check", "rules", "homing.yml"]));
    succeeds(promtool(&["test", "rules", "homing.test.yml"]));
}

/// Goal: an operator whom an alert wakes finds its first step.
#[test]
fn the_page_has_a_row_for_each_alert() {
    let rules = fs::read_to_string(alerts().join("homing.yml")).expect("it is there");
    let page = fs::read_to_string(docs().join("monitoring.md")).expect("it is there");
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `Homing")).collect();
    let in_a_row = |alert: &str| rows.iter().any(|row| row.contains(&format!("`{alert}`")));
    let missing: Vec<_> = alerts.iter().filter(|alert| !in_a_row(alert)).collect();
    assert!(missing.is_empty(), "docs/monitoring.md has no row for {missing:?}");
}

#[tokio::test]
async fn the_metrics_are_well_formed_and_in_the_catalogue() {
    let site = Site::new(&[60_000], "");
    let receiver = Receiver::answering(|request| {
        Reply::status(if request.path == "/works" { 200 } else { 500 })
    })
    .await;
    site.subscribe(&receiver.url("/works"), "a.*", &[]);
    site.subscribe(&receiver.url("/fails"), "a.*", &[]);
    let log = fs::File::create(site.log()).expect("a log can be written");
    let worker = site.start_as(&["run"], Stdio::null(), log.into());
    site.publisher().await.publish(Raw::new("a.b", "event-1", "{}")).await;
    receiver.wait_for(2).await;

    let base = address(site.folder.path()).await;
    let reported = eventually(async || {
        let reported = get(&base, "/metrics", "").await;
        let waits = reported.lines().any(|line| {
            let age = line.strip_prefix("homing_oldest_undelivered_seconds ");
            age.and_then(|age| age.parse::<f64>().ok()).is_some_and(|age| age > 0.0)
        });
        if waits { Ok(reported) } else { Err(reported) }
    })
    .await;
    let status = get(&base, "/v1/status", "").await;
    assert!(status.contains(r#""workers_wanted":1,"#), "{status}");
    drop(worker);

    let mut check = promtool(&["check", "metrics"]).stdin(Stdio::piped()).spawn().expect("it runs");
    check.stdin.take().expect("piped").write_all(reported.as_bytes()).expect("it reads");
    assert!(check.wait().expect("it ends").success(), "{reported}");

    let prefix = &site.corner.prefix;
    for line in [
        "homing_deliveries_made_total 2".to_owned(),
        r#"homing_deliveries_total{outcome="delivered"} 1"#.to_owned(),
        r#"homing_attempts_total{outcome="accepted"} 1"#.to_owned(),
        r#"homing_attempts_total{outcome="refused"} 1"#.to_owned(),
        "homing_attempt_duration_seconds_count 2".to_owned(),
        format!("homing_queue_messages{{queue=\"{prefix}.v1.wait.60000\"}} 1"),
        format!("homing_queue_consumers{{queue=\"{prefix}.v1.primary\"}} 1"),
        "homing_store_up 1".to_owned(),
        "homing_workers_wanted 1".to_owned(),
        r#"homing_broker_connected{link="publishing"} 1"#.to_owned(),
    ] {
        assert!(reported.lines().any(|reported| reported == line), "{line} in\n{reported}");
    }
    assert!(!reported.contains(&receiver.url("")), "no URL is a label");
    for name in reported.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
    {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
        assert!(reported.contains(&format!("# HELP {name} ")), "{name}");
    }
}
