//! Search by anything.

use super::{Scene, browser::Browser};
use homing_domain::id::{DeliveryId, EventId, SubscriptionId};

/// Goal: what is unambiguous is shown at once. Method: each id, whole or its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_leads_to_its_object() {
    let scene = Scene::set().await;
    scene.wait_for_records(13).await;
    let installation = &scene.running.installation;
    let page = homing_store::Page { after: None, limit: 9 };
    let listing = installation.parts.store.subscriptions(page).await.expect("the store answers");
    let failing = scene.receiver.url("/failing");
    let at = |path: &str| -> SubscriptionId {
        let url = scene.receiver.url(path);
        let own = listing.subscriptions.iter().find(|one| one.spec.url.as_str() == url);
        own.expect("it is there").id
    };
    let subscription = at("/failing");
    let event = EventId::new("order-1").expect("an id");
    let parked = DeliveryId::of(&event, subscription).to_string();
    let delivered = DeliveryId::of(&event, at("/well")).to_string();
    let browser = Browser::open(scene.url()).await;
    for (sought, path) in [
        ("order-1", "/event?id=order-1".to_owned()),
        ("old-", "/event?id=old-1".to_owned()),
        (&subscription.to_string(), format!("/subscriptions/{subscription}")),
        (&parked, "/event?id=order-1".to_owned()),
        (&delivered, "/event?id=order-1".to_owned()),
    ] {
        browser.go("/topics").await;
        browser.press('/').await;
        browser.fill("#anything", sought).await;
        browser.press('\u{e007}').await;
        browser.element("h1").await;
        crate::support::eventually(async || {
            let now = browser.path().await;
            crate::support::holds(now == path, format!("{sought} leads to {now}, not {path}"))
        })
        .await;
    }
    let url = format!("/search?q={}", failing.replace(':', "%3A").replace('/', "%2F"));
    browser.go(&url).await;
    browser.see("h1", "/failing").await;
    assert!(browser.path().await.starts_with("/endpoint?url="), "{}", browser.path().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ambiguous_is_one_page_by_kind() {
    let scene = Scene::set().await;
    scene.wait_for_records(13).await;
    let browser = Browser::open(scene.url()).await;
    browser.go_until("/search?q=order", "#topics").await;
    browser.see("#events", "order-1").await;
    browser.see("#events", "order-2").await;
    browser.see("#topics", "order.paid").await;
    browser.see("#subscriptions", "/failing").await;
    browser.see("#parked", "exhausted").await;
    browser.keep("search").await;

    // A part of a URL, in whatever case, and a part of a description.
    browser.go("/search?q=FAILI").await;
    browser.see("#endpoints", "/failing").await;
    browser.see("#subscriptions", "/failing").await;
    browser.go("/search?q=window.ran").await;
    browser.see("#subscriptions", "/well").await;

    // A class of statuses, the text of an error, and a time; the address has all of it.
    browser.go("/search").await;
    browser.fill("#q", "5xx").await;
    browser.fill("#since", "1h").await;
    browser.follow("#search").await;
    assert_eq!(browser.path().await, "/search?q=5xx&since=1h&until=");
    browser.see("#errors", "503 from the endpoint").await;
    browser.see("#parked", "3 in all").await;
    browser.follow("#all-parked").await;
    assert_eq!(browser.count("tbody tr").await, 3);
    browser.go("/search?q=4xx").await;
    browser.see("#errors", "410").await;
    assert!(!browser.text("#errors").await.contains("503"));
    browser.follow("#attempts").await;
    assert_eq!(browser.path().await, "/attempts?status=4xx");
    browser.see("tbody", "410").await;
    browser.go("/search?q=from+the+endpoint+5xx").await;
    browser.see("#errors", "503 from the endpoint").await;
    browser.go("/search?q=5xx&until=7d").await;
    browser.see("#nothing", "Nothing matches").await;
    browser.go("/search?q=5xx&since=yesterday").await;
    browser.see("main", "Not searched").await;
    browser.go("/search?q=nothing-has-this").await;
    browser.see("#nothing", "Nothing matches").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Goal: pages take at most 60 KB, in either compression that browsers understand.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_small() {
    let scene = Scene::set().await;
    scene.wait_for_records(13).await;
    let failing = scene.receiver.url("/failing");
    for path in [
        "/".to_owned(),
        "/?range=7d".to_owned(),
        "/search?q=order".to_owned(),
        "/endpoints".to_owned(),
        format!("/endpoint?url={failing}"),
        "/deliveries".to_owned(),
        "/attempts".to_owned(),
        "/event?id=order-1".to_owned(),
        "/parked".to_owned(),
        "/subscriptions".to_owned(),
        "/subscriptions/new".to_owned(),
        "/alerting".to_owned(),
        "/topics".to_owned(),
        "/audit".to_owned(),
    ] {
        for encoding in ["br", "gzip"] {
            let url = format!("{}{path}", scene.url());
            let request = scene.running.client.get(&url).header("accept-encoding", encoding);
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["content-encoding"], encoding, "{path}");
            let bytes = answer.bytes().await.expect("all of it").len();
            assert!(bytes <= 60_000, "{path} has {bytes} bytes in {encoding}");
        }
    }
}
