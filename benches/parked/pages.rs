//! The size of each page of the dashboard, compressed, and its time over HTTP, with a full store: for
//! each million parked deliveries 100,000 subscriptions, 10,000 endpoints and 5,000,000 attempts.

use std::{sync::Arc, time::Duration};

use homing::{
    api, dashboard,
    web::{self, App, Process},
};
use homing_delivery::{
    endpoint::Endpoints,
    parking::{Bodies, Selection},
};
use homing_domain::{
    circuit::CircuitRules,
    clock,
    history::TopicSeen,
    id::{DeliveryId, EventId, SubscriptionId},
    outcome::Outcome,
    payload::PayloadState,
    record::{AttemptEvent, Attempted, Class, NextState, Record},
    subscription::{Draft, Subscription},
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{HistoryBatch, RecordFilter, RecordPage, Store};
use reqwest::Client;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{TOPICS, millis, support::installation::Installation};

/// For one parked delivery of a full store ...
const ATTEMPTS_EACH: u32 = 5;
/// ... and parked deliveries for a subscription, and for a URL.
const PARKED_EACH: u32 = 10;
const PARKED_EACH_URL: u32 = 100;
const BATCH: u32 = 1_000;
/// One of so many attempts fails, and one of so many URLs is down.
const FAILS: u32 = 20;
const DOWN: u32 = 50;
/// Times that each page is asked for.
const TIMES: usize = 11;

/// Fills the store, and asks for each page.
pub(crate) async fn measure(installation: &Installation, parked: u32) {
    let urls = (parked / PARKED_EACH_URL).max(100);
    let store = &*installation.parts.store;
    let some = subscribe(store, parked / PARKED_EACH, urls).await;
    attempts(store, parked.saturating_mul(ATTEMPTS_EACH), urls, some.id).await;
    circuits(store, urls).await;
    topics(store).await;
    let begun = Instant::now();
    installation.parts.subscriptions.refresh().await.expect("they can be read");
    println!("the subscriptions were read in {:.0} ms", millis(begun));
    let server = Server::of(installation).await;
    println!("{:<44} {:>8} {:>8} {:>8} {:>8}", "page", "kB", "gzip kB", "median", "longest");
    for path in paths(installation, &some).await {
        server.ask(&path).await;
    }
}

fn url(number: u32, urls: u32) -> EndpointUrl {
    let url = format!("https://hooks.example.com/tenants/{}/events", number % urls);
    url.parse().expect("a URL")
}

/// Adds subscriptions; returns one of them.
async fn subscribe(store: &dyn Store, number: u32, urls: u32) -> Subscription {
    let (begun, now) = (Instant::now(), clock::now());
    let mut some = None;
    for number in 0..number {
        let topic = format!("shop.{}.{}", number % TOPICS, number / urls);
        let mut draft = Draft::new(url(number, urls).as_str(), &topic);
        draft.description = Some(format!("Tenant {number}"));
        let spec = draft.build(&[]).expect("it is sound");
        let id = SubscriptionId::new(clock::new_id());
        let one = Subscription { id, spec, created: now, updated: now };
        store.insert_subscription(&one).await.expect("it is new");
        some = Some(one);
    }
    crate::rate("subscriptions added", number, begun);
    some.expect("there are some")
}

fn record(number: u32, urls: u32, subscription: SubscriptionId, now: UnixMillis) -> Record {
    let started =
        now.minus(Duration::from_hours(24)).plus(Duration::from_millis(u64::from(number) * 17));
    let fails = number.is_multiple_of(FAILS) || number % urls % DOWN == 7;
    let mixed = (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let event = EventId::from(uuid::Uuid::from_u128(mixed));
    let (class, status) = if fails { (Class::Refused, 503) } else { (Class::Accepted, 200) };
    let response =
        if fails { b"upstream connect error: connection refused".to_vec() } else { b"ok".to_vec() };
    Record {
        id: clock::new_record_id(started),
        topic: format!("shop.{}.paid", number % TOPICS),
        recipient: Some((subscription, DeliveryId::of(&event, subscription))),
        event: event.to_string(),
        url: Some(url(number, urls).as_str().to_owned()),
        step: 0,
        replays: 0,
        order: Some(0),
        happened: AttemptEvent::Attempted(Attempted {
            attempt: 1,
            duration: Duration::from_millis(12),
            class,
            outcome: format!("{} {status}", class.as_str()),
            status: Some(status),
            response,
            cut: false,
            cause: None,
        }),
        next_state: if fails {
            NextState::Waits(now.plus(Duration::from_hours(1)))
        } else {
            NextState::Done
        },
        hold: None,
        turn: None,
        as_of: None,
        payload: PayloadState::Unwanted,
    }
}

async fn attempts(store: &dyn Store, number: u32, urls: u32, subscription: SubscriptionId) {
    let (begun, now) = (Instant::now(), clock::now());
    for batch in 0..number / BATCH {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let records: Vec<_> =
            numbers.map(|number| record(number, urls, subscription, now)).collect();
        store.record_attempts(&records, None).await.expect("they can be written");
    }
    crate::rate("attempts added", number, begun);
}

/// Most are closed, some open.
async fn circuits(store: &dyn Store, urls: u32) {
    let (rules, now) = (CircuitRules::default(), clock::now());
    let (refused, accepted) =
        (Outcome::Refused { status: 503, retry_after: None }, Outcome::Accepted { status: 200 });
    for batch in (0..urls).collect::<Vec<_>>().chunks(500) {
        let tallies: Vec<_> = batch
            .iter()
            .map(|number| {
                let (times, outcome) =
                    if number % DOWN == 7 { (200, &refused) } else { (3, &accepted) };
                let tally =
                    (0..times).fold(Tally::default(), |sum, _| sum.merge(Tally::of(outcome, now)));
                (url(*number, urls), tally)
            })
            .collect();
        store.merge_tallies(&tallies, &rules, now).await.expect("they can be merged");
    }
}

async fn topics(store: &dyn Store) {
    let (worker, at) = (clock::new_id(), clock::now());
    let seen = (0..TOPICS).map(|number| TopicSeen::one(format!("shop.{number}.paid"), at, true));
    let topics = seen.collect();
    let batch = HistoryBatch { worker, number: 1, at, hours: Vec::new(), topics };
    store.add_history(&batch, 10_000).await.expect("they can be added");
}

/// The pages, each with what is in the store.
async fn paths(installation: &Installation, some: &Subscription) -> Vec<String> {
    let encoded = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
    let parts = &installation.parts;
    let newest = RecordPage { filter: RecordFilter::default(), after: None, limit: 1 };
    let newest = parts.store.attempts(&newest).await.expect("a page").records;
    let record = newest.first().expect("there is one");
    let parked = parts.parking.list(&Selection::default(), 1, Bodies::Omitted).await;
    let parked = parked.expect("a page").entries.into_iter().next().expect("one");
    let down = encoded("https://hooks.example.com/tenants/7/events");
    let well = encoded(some.spec.url.as_str());
    let (event, id, subscription) = (&record.event, record.id, some.id);
    let mut paths: Vec<_> = [
        "/",
        "/?range=7d",
        "/endpoints",
        "/endpoints?state=open",
        "/endpoints?sort=failures",
        "/endpoints?q=tenants%2F77",
        "/deliveries",
        "/deliveries?state=waits",
        "/deliveries?state=delivered",
        "/attempts",
        "/attempts?outcome=failed",
        "/attempts?status=5xx",
        "/parked",
        "/parked?topic=shop.%2A.paid",
        "/parked?reason=frozen",
        "/parked?text=tenants",
        "/parked?sort=oldest",
        "/subscriptions",
        "/subscriptions?sort=url",
        "/subscriptions?sort=newest",
        "/subscriptions?q=Tenant+77",
        "/subscriptions/new",
        "/topics",
        "/topics?sort=events",
        "/settings",
        "/tokens",
        "/alerting",
        "/sources",
        "/replays",
        "/audit",
        "/search?q=tenants%2F77",
        "/search?q=503",
        "/search?q=nowhere",
        "/v1/events",
        "/v1/status",
    ]
    .map(str::to_owned)
    .into();
    paths.extend([
        format!("/endpoint?url={down}"),
        format!("/endpoint?url={well}"),
        format!("/deliveries?url={down}"),
        format!("/attempts?url={down}"),
        format!("/event?id={event}"),
        "/event?id=unknown".to_owned(),
        format!("/event?id={}", parked.event_id),
        format!("/attempt?id={id}"),
        format!("/parked/message?id={}", parked.id),
        format!("/subscriptions/{subscription}"),
        format!("/subscriptions/{subscription}/edit"),
    ]);
    paths
}

/// The dashboard, served.
struct Server {
    base: String,
    client: Client,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn of(installation: &Installation) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base = format!("http://{}", listener.local_addr().expect("it has an address"));
        let services = installation.parts.clone();
        let max_per_address = services.settings.api.max_connections_per_address;
        let endpoints = Endpoints::new(&services.settings.endpoint).expect("they can be called");
        let app = App::new(services, endpoints, Vec::new(), Process::default());
        let router = web::finished(api::router(Arc::clone(&app)).merge(dashboard::router(app)));
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
        let serving = tokio::spawn(web::serve(listener, router, max_per_address, stop));
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().build().expect("a client");
        Self { base, client, _serving: AbortOnDropHandle::new(serving) }
    }

    /// The bytes of a page as they are sent.
    async fn get(&self, path: &str, encoding: &str) -> usize {
        let request = self.client.get(format!("{}{path}", self.base));
        let answer = request.header("accept-encoding", encoding).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await.expect("a whole answer").len()
    }

    async fn ask(&self, path: &str) {
        let plain = self.get(path, "identity").await;
        let (mut took, mut packed) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let begun = Instant::now();
            packed = self.get(path, "gzip").await;
            took.push(millis(begun));
        }
        took.sort_by(f64::total_cmp);
        let at = |index: usize| took.get(index).copied().unwrap_or_default();
        let kilo = |bytes: usize| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / 1_000.0;
        let shown: String = path.chars().take(44).collect();
        println!(
            "{shown:<44} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            kilo(plain),
            kilo(packed),
            at(TIMES / 2),
            at(TIMES - 1)
        );
    }
}
