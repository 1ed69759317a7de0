//! The ground of every scenario: a corner of the broker, a store, events, and the processes that
//! take part.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use homing::{config::Settings, services::Services};
use homing_delivery::archive::Archive;
use homing_domain::subscription::Draft;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueuePurgeOptions},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    bare::Library,
    machine::{cpu_seconds, micros},
    sink::{Group, Report},
    support::{
        broker::Publisher,
        process::{Process, Site},
    },
};

/// A body begins with when it was published: microseconds since 1970, in hexadecimal digits.
pub(crate) const STAMP_BYTES: usize = 16;

/// The topic of events that all subscriptions want.
const TOPIC: &str = "bench.event";
/// No scenario's events take longer than this.
const DEADLINE: Duration = Duration::from_secs(180);
/// A wait of an hour: what fails does not come again.
pub(crate) const WAITS_MS: [u64; 1] = [3_600_000];
/// Until all processes are connected.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Confirms that may be due at one time.
const MAX_UNCONFIRMED: usize = 1_000;

/// A process of this program; killed when dropped.
pub(crate) struct Helper(Child);

impl Helper {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    fn start(arguments: &[String]) -> (Self, impl Iterator<Item = String> + use<>) {
        let program = std::env::current_exe().expect("this program has a name");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be run again");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        (Self(child), output.lines().map_while(Result::ok))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The sink's process, and a client of it.
pub(crate) struct Endpoints {
    ports: [String; 2],
    client: reqwest::Client,
    certificate: TempDir,
    _sink: Helper,
}

impl Endpoints {
    pub(crate) fn start() -> Self {
        let certificate = tempfile::tempdir().expect("a folder can be made");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
        let write = |name: &str, text: String| {
            fs::write(certificate.path().join(name), text).expect("it can be written");
        };
        write("ca.pem", made.cert.pem());
        write("key.pem", made.signing_key.serialize_pem());
        let folder = certificate.path().display().to_string();
        let (sink, mut lines) = Helper::start(&["sink".to_owned(), folder]);
        let ports = lines.next().expect("the sink prints its ports");
        let (plain, tls) = ports.split_once(' ').expect("two ports");
        let ports = [plain.to_owned(), tls.to_owned()];
        Self { ports, client: reqwest::Client::new(), certificate, _sink: sink }
    }

    /// The certificate that HTTPS endpoints have.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.certificate.path().join("ca.pem")
    }

    /// The URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports[0])
    }

    pub(crate) fn https_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.ports[1])
    }

    pub(crate) async fn reset(&self) {
        self.tell("/reset").await;
    }

    /// Requests one of the paths that are not an endpoint's.
    pub(crate) async fn tell(&self, path: &str) {
        self.client.get(self.url(path)).send().await.expect("the sink answers");
    }

    pub(crate) async fn report(&self) -> Report {
        let answered = self.client.get(self.url("/report")).send().await;
        let body = answered.expect("the sink answers").bytes().await.expect("with a report");
        serde_json::from_slice(&body).expect("it is one")
    }

    /// The report once `count` requests came to `group`; what came by then, when the deadline is over.
    pub(crate) async fn after(&self, group: &str, count: u64) -> Report {
        self.once(group, |group| group.requests >= count).await
    }

    /// The requests of `group` once it has accepted `count`, which it must.
    pub(crate) async fn accepted(&self, group: &str, count: u64) -> Group {
        let accepted = |group: &Group| group.requests - group.refused;
        let mut report = self.once(group, |group| accepted(group) >= count).await;
        let group = report.groups.remove(group).unwrap_or_default();
        let came = accepted(&group);
        assert!(came >= count, "{came} of {count} requests were accepted");
        group
    }

    async fn once(&self, group: &str, is_enough: impl Fn(&Group) -> bool) -> Report {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let report = self.report().await;
            if report.groups.get(group).is_some_and(&is_enough) || Instant::now() > deadline {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An installation of homing for one scenario.
pub(crate) struct Stage {
    pub(crate) site: Site,
    parts: Services,
    publisher: Publisher,
}

impl Stage {
    /// With these waits and additional settings.
    pub(crate) async fn new(waits_ms: &[u64], further: &str) -> Self {
        let site = Site::new(waits_ms, further);
        let text = fs::read_to_string(site.folder.path().join("homing.toml")).expect("settings");
        let settings = Settings::from_toml(&text).expect("they make sense");
        let parts = Services::open(settings).await.expect("the parts open");
        parts.broker.connect().await.expect("the topology can be declared");
        let publisher = site.publisher().await;
        Self { site, parts, publisher }
    }

    /// A subscription of every topic.
    pub(crate) async fn subscribe_all(&self, url: &str) {
        self.subscribe(json!({"url": url, "topics": ["#"]})).await;
    }

    pub(crate) async fn subscribe(&self, draft: serde_json::Value) {
        let draft: Draft = serde_json::from_value(draft).expect("it is a draft");
        self.parts.registry.create(draft).await.expect("it is sound");
    }

    /// Publishes `count` events of `bytes` each as fast as the broker confirms them.
    pub(crate) async fn fill(&self, count: u32, bytes: usize) {
        self.publish(&[TOPIC.to_owned()], (count, bytes), None).await;
        // Until the broker has finished its work behind the confirms.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Publishes `count` events of a kilobyte, `per_second`, each with the instant at which it was
    /// due: a publisher that is held up does not make the latency look better.
    pub(crate) async fn steady(&self, count: u32, per_second: u32) {
        self.steady_with(&[TOPIC.to_owned()], count, per_second).await;
    }

    /// The same with these topics in turns.
    pub(crate) async fn steady_with(&self, topics: &[String], count: u32, per_second: u32) {
        self.publish(topics, (count, 1_000), Some(per_second)).await;
    }

    async fn publish(
        &self,
        topics: &[String],
        (count, bytes): (u32, usize),
        per_second: Option<u32>,
    ) {
        let (begun, mut unconfirmed) = (micros(), FuturesUnordered::new());
        let exchange = self.site.corner.topology.names().events();
        let run = format!("{begun:x}");
        for (number, topic) in (0..count).zip(topics.iter().cycle()) {
            let due =
                per_second.map(|rate| begun + u64::from(number) * 1_000_000 / u64::from(rate));
            if let Some(due) = due
                && let wait @ 1.. = due.saturating_sub(micros())
            {
                let wait = tokio::time::sleep(Duration::from_micros(wait));
                tokio::pin!(wait);
                loop {
                    tokio::select! {
                        () = &mut wait => break,
                        Some(confirmed) = unconfirmed.next() => check(confirmed),
                    }
                }
            }
            let mut body = format!("{:0STAMP_BYTES$x}", due.unwrap_or_default()).into_bytes();
            body.resize(bytes.max(STAMP_BYTES), b' ');
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(format!("{run}-{number}").into());
            let options = BasicPublishOptions::default();
            let sent = self.publisher.channel().basic_publish(
                exchange.as_str().into(),
                topic.as_str().into(),
                options,
                &body,
                properties,
            );
            unconfirmed.push(sent.await.expect("it is published"));
            while unconfirmed.len() >= MAX_UNCONFIRMED {
                check(unconfirmed.next().await.expect("there are some"));
            }
        }
        while let Some(confirmed) = unconfirmed.next().await {
            check(confirmed);
        }
    }

    /// Starts the bare loop with `library` on the primary queue; `urls` get every event.
    pub(crate) fn bare(&self, library: Library, urls: &[String], further: &[String]) -> Helper {
        let names = self.site.corner.topology.names();
        let arguments = ["bare", "--library", library.name(), "--broker"].map(str::to_owned);
        let mut arguments = arguments.to_vec();
        arguments.extend([self.site.corner.url.clone(), "--queue".to_owned(), names.primary()]);
        arguments.extend(urls.iter().flat_map(|url| ["--url".to_owned(), url.clone()]));
        arguments.extend_from_slice(further);
        Helper::start(&arguments).0
    }

    /// The queue in which failed deliveries wait.
    pub(crate) fn wait_queue(&self) -> String {
        self.site.corner.topology.names().wait(Duration::from_millis(WAITS_MS[0]))
    }

    /// Counts of the worker, by the names of metrics.
    pub(crate) async fn counted<const N: usize>(
        &self,
        endpoints: &Endpoints,
        names: [&str; N],
    ) -> [f64; N] {
        let log = fs::read_to_string(self.site.log()).expect("the worker logs");
        let address = log.lines().find(|line| line.contains("api.listening"));
        let address = address.and_then(|line| line.split("address=").nth(1)?.split(' ').next());
        let url = format!("http://{}/metrics", address.expect("the worker listens"));
        let metrics = endpoints.client.get(url).send().await.expect("the worker answers");
        let metrics = metrics.text().await.expect("with metrics");
        names.map(|name| {
            let of_name = metrics.lines().filter_map(|line| line.strip_prefix(name));
            let values = of_name.filter_map(|line| line.split(' ').next_back()?.parse().ok());
            values.fold(0.0, |sum, value: f64| sum + value)
        })
    }

    /// Stops a worker cleanly, so that it settles everything.
    pub(crate) async fn stop(mut worker: Process) {
        worker.terminate();
        worker.ended().await;
    }

    /// Replays of the archive.
    pub(crate) fn archive(&self) -> &Archive {
        &self.parts.archive
    }

    /// Empties all queues but the archive.
    pub(crate) async fn clear(&self) {
        for queue in self.site.corner.topology.queues() {
            if queue.name == self.site.corner.topology.names().archive() {
                continue;
            }
            let purged = self
                .publisher
                .channel()
                .queue_purge(queue.name.into(), QueuePurgeOptions::default());
            purged.await.expect("a queue can be emptied");
        }
    }
}

fn check(confirmed: lapin::Result<lapin::Confirmation>) {
    assert!(confirmed.expect("a confirm comes").is_ack(), "the broker refused an event");
}

/// Seconds of CPU that the broker has used; 0 where its process is not known.
pub(crate) fn broker_cpu() -> f64 {
    let file = std::env::var("HOMING_TEST_BROKER_PIDFILE").unwrap_or_default();
    let pid = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    pid.map_or(0.0, cpu_seconds)
}
