//! An incident as an operator at night sees it: one endpoint is down, one is frozen, one is slow,
//! and events come that no subscription wants.

use std::time::Duration;

use homing_domain::{circuit::StateName, url::EndpointUrl};
use serde_json::json;

use super::browser::{Browser, Look};
use crate::{
    api::{Running, serve},
    circuits::{CIRCUIT, wait_for_state},
    support::{
        broker::Raw,
        eventually, holds,
        installation::{self, Installation},
        receiver::{Receiver, Reply},
    },
};

/// Deliveries to each endpoint: more than open a circuit, and than a slow one takes in some seconds.
const EVENTS: u32 = 60;

/// The endpoint that answers 410 to other topics answers 503 to this one.
const MERGED: &str = "contact.merged";

struct Incident {
    running: Running,
    receiver: Receiver,
    _worker: installation::Running,
}

impl Incident {
    async fn happen() -> Self {
        let settings = CIRCUIT.replace("\"1s\"", "\"10m\"").replace("held.min_hold = \"0s\"\n", "");
        let settings =
            format!("{settings}endpoint.max_concurrency = 4\nendpoint.busy_wait = \"50ms\"\n");
        let running = serve(Installation::with(&[600_000, 600_000], &settings).await).await;
        let receiver = Receiver::answering(|request| match request.path.as_str() {
            "/shop/orders/v2/webhook" => {
                Reply::status(503).saying("upstream connect error: connection refused")
            }
            "/crm/hooks/contact-changed" => {
                let is_merge = request.headers.get("x-homing-topic");
                Reply::status(if is_merge.is_some_and(|it| it == MERGED) { 503 } else { 410 })
            }
            "/warehouse/inbound" => Reply::status(200).after(Duration::from_secs(2)),
            _ => Reply::status(200),
        })
        .await;
        let installation = &running.installation;
        for (path, topic, owner) in [
            ("/shop/orders/v2/webhook", "order.*", "Shop team"),
            ("/crm/hooks/contact-changed", "contact.*", "CRM (Sales)"),
            ("/warehouse/inbound", "stock.*", "Warehouse"),
            ("/billing/invoices", "invoice.*", "Billing"),
        ] {
            let draft = json!({
                "url": receiver.url(path), "topics": [topic], "description": owner,
            });
            installation.subscribe(draft).await;
        }
        let worker = installation.start();
        // This process does not follow the subscriptions by itself.
        installation.parts.subscriptions.refresh().await.expect("the store answers");
        for number in 0..EVENTS {
            for topic in ["order.paid", "stock.moved", "invoice.sent"] {
                let id = format!("{topic}-{number}");
                installation.publisher.publish(Raw::new(topic, &id, "{\"amount\": 12.50}")).await;
            }
        }
        installation.publisher.publish(Raw::new("contact.changed", "contact-1", "{}")).await;
        for number in 0..3 {
            let id = format!("typo-{number}");
            installation.publisher.publish(Raw::new("orders.paid", &id, "{}")).await;
        }
        let url = |path: &str| receiver.url(path);
        wait_for_state(installation, &url("/shop/orders/v2/webhook"), StateName::Open).await;
        wait_for_state(installation, &url("/crm/hooks/contact-changed"), StateName::Frozen).await;
        // What comes from now on is held.
        for number in 0..EVENTS {
            let id = format!("later-{number}");
            installation.publisher.publish(Raw::new("order.paid", &id, "{}")).await;
        }
        // The slow one stays slow for minutes.
        for number in 0..5 * EVENTS {
            let id = format!("later-stock-{number}");
            installation.publisher.publish(Raw::new("stock.moved", &id, "{}")).await;
        }
        installation.wait_for_depth(&installation.names().primary(), 0).await;
        Self { running, receiver, _worker: worker }
    }

    fn url(&self) -> &str {
        &self.running.base_url
    }
}

/// Goal: the first screen says what is broken, since when, why, what waits for it, what happens next
/// and whose it is. Method: three endpoints in trouble, each of another kind, and a topic.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_screen_names_what_is_broken_the_worst_first() {
    let incident = Box::pin(Incident::happen()).await;
    let browser = Browser::open(incident.url()).await;
    browser.look(Look { width: 1_280, scheme: "light" }).await;
    browser.go_until("/", "#broken tbody tr:nth-child(3)").await;
    browser.see("#broken tbody tr:nth-child(1)", "frozen").await;
    browser.see("#broken tbody tr:nth-child(1)", "CRM (Sales)").await;
    browser.see("#broken tbody tr:nth-child(1)", "Enable").await;
    browser.see("#broken tbody tr:nth-child(2)", "503 from the endpoint").await;
    browser.see("#broken tbody tr:nth-child(2)", "upstream connect error").await;
    browser.see("#broken tbody tr:nth-child(2)", "Shop team").await;
    browser.see("#broken tbody tr:nth-child(2)", "probe in").await;
    browser.see("#broken tbody tr:nth-child(3)", "slow").await;
    let held = browser.text("#broken tbody tr:nth-child(2) [data-label=Held]").await;
    assert!(held.parse::<u32>().is_ok_and(|held| held > 0), "{held}");
    browser.see(".attention", "1 topic has no subscription").await;
    browser.see(".attention", "orders.paid (3 events)").await;
    let page = browser.text("main").await;
    assert!(!page.contains("No open problems"), "{page}");
    assert!(!page.contains("/billing/invoices"), "what is well is not named: {page}");
    for (name, width, scheme) in
        [("light", 1_280, "light"), ("dark", 1_280, "dark"), ("phone", 390, "light")]
    {
        browser.look(Look { width, scheme }).await;
        browser.go("/").await;
        browser.element("#broken tbody tr:nth-child(3)").await;
        browser.keep(&format!("incident-{name}")).await;
        assert_eq!(browser.violations().await, Vec::<String>::new(), "{name}");
        let wide = browser.script("return document.documentElement.scrollWidth").await;
        assert!(wide.as_u64().is_some_and(|wide| wide <= width.into()), "{name}: {wide}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    // Metrics name held queues: a link leads from there to the endpoint.
    let installation = &incident.running.installation;
    let (names, store) = (installation.names(), &installation.parts.store);
    let down = incident.receiver.url("/shop/orders/v2/webhook");
    let slots = store.held_slots(names.prefix()).await.expect("the store answers");
    let of_it = |url: &EndpointUrl| url.as_str() == down;
    let own = slots.iter().find(|slot| slot.url.as_ref().is_some_and(of_it)).expect("a queue");
    browser.go(&format!("/held?queue={}", names.held(own.slot))).await;
    browser.see("h1", "/shop/orders/v2/webhook").await;
    browser.go("/held?queue=none").await;
    browser.see("h1", "Endpoints").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_has_the_button_that_helps() {
    let incident = Box::pin(Incident::happen()).await;
    let installation = &incident.running.installation;
    let browser = Browser::open(incident.url()).await;
    let down = incident.receiver.url("/shop/orders/v2/webhook");
    let gone = incident.receiver.url("/crm/hooks/contact-changed");
    browser.go_until("/", &format!("[aria-label=\"Probe {down} now\"]")).await;
    let before = incident.receiver.count_at("/shop/orders/v2/webhook");
    browser.follow(&format!("[aria-label=\"Probe {down} now\"]")).await;
    browser.see("h1", "/shop/orders/v2/webhook").await;
    incident.receiver.wait_for_at("/shop/orders/v2/webhook", before + 1).await;

    browser.go("/").await;
    browser.follow(&format!("[aria-label=\"Enable {gone}\"]")).await;
    browser.element("#disable").await;
    wait_for_state(installation, &gone, StateName::Closed).await;

    // What is parked for an endpoint that only fails is sent again from its line, after a count.
    let again = format!("[aria-label=\"Send again what is parked for {gone}\"]");
    for id in ["merge-1", "merge-2"] {
        installation.publisher.publish(Raw::new(MERGED, id, "{}")).await;
    }
    browser.go_until("/", &again).await;
    browser.follow(&again).await;
    browser.see("main", "Replay parked messages").await;
}

/// Goal: the figures of a day and a week have axes with units, and the address keeps the range.
#[tokio::test(flavor = "multi_thread")]
async fn the_figures_cover_an_hour_a_day_or_a_week() {
    let incident = Box::pin(Incident::happen()).await;
    let browser = Browser::open(incident.url()).await;
    browser.go("/").await;
    browser.see(".tiles", "in the last hour").await;
    browser.see(".plots", "attempts a minute").await;
    assert_eq!(browser.count(".plot").await, 1);
    browser.follow("#range-24h").await;
    assert_eq!(browser.path().await, "/?range=24h");
    browser.see(".tiles", "in the last 24 hours").await;
    browser.see(".plots", "attempts an hour").await;
    browser.see(".plots", "Response time").await;
    // Workers write the history every few seconds; the part is kept current in the same range.
    eventually(async || {
        let tiles = browser.text(".tiles").await;
        holds(tiles.contains("p50") && !tiles.contains("last hour"), tiles)
    })
    .await;
    browser.follow("#range-7d").await;
    browser.see(".tiles", "in the last 7 days").await;
    assert_eq!(browser.count("#range-7d[aria-current]").await, 1);
    browser.go("/?range=many").await;
    browser.see(".tiles", "in the last hour").await;
}
