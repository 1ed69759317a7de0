//! The dashboard where JavaScript is switched off.

use super::{Scene, browser::Browser};

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript_every_page_shows_its_content() {
    let scene = Scene::set().await;
    scene.wait_for_records(13).await;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;
    let failing = scene.receiver.url("/failing");
    for (path, text) in [
        ("/", "are parked"),
        ("/endpoints?state=frozen", "410 Gone"),
        (&format!("/endpoint?url={failing}"), "refused 503"),
        ("/deliveries?state=parked", "/failing"),
        ("/attempts", "order.paid"),
        ("/event?id=order-1", "is parked since"),
        ("/parked", "exhausted"),
        ("/subscriptions", "order.*"),
        ("/subscriptions/new", "One a line"),
        ("/sources", "livestream"),
        ("/settings", "this machine"),
        ("/tokens", "every request from this machine"),
        ("/alerting", "None is alerted"),
        ("/search?q=order", "order-2"),
        ("/docs", "Publish an event"),
    ] {
        browser.go(path).await;
        browser.see("main", text).await;
    }
    // One delivery is searched for, and unfolded.
    browser.go("/deliveries?state=parked").await;
    browser.fill("#event", "order-1").await;
    browser.follow("#search").await;
    assert_eq!(browser.count("tbody > tr").await, 1);
    browser.click("tbody summary").await;
    browser.see("tbody", "503 from the endpoint").await;
    for list in ["/parked", "/subscriptions"] {
        browser.go(list).await;
        browser.follow("tbody a").await;
        browser.element("h1").await;
        assert!(browser.path().await.len() > list.len(), "the link leads to one of them");
    }
    // Where scripts run, what stands in there is no element. Source: HTML Living Standard, 4.12.2.
    browser.go("/").await;
    assert_eq!(browser.count("noscript > meta").await, 1, "scripts run");
    assert_eq!(browser.count("body[data-live]").await, 0, "a script ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript_the_buttons_work() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let browser = Browser::open(scene.url()).await;
    browser.without_scripts().await;

    browser.go("/subscriptions").await;
    browser.follow("#new").await;
    browser.fill("#url", &scene.receiver.url("/plain")).await;
    browser.fill("#topics", "plain.*").await;
    browser.follow("#save").await;
    assert!(browser.text("#secret").await.starts_with("whsec_"));
    browser.follow("#test").await;
    browser.see("#tested", "accepted 200").await;

    let gone = scene.receiver.url("/gone");
    browser.go(&format!("/endpoint?url={gone}")).await;
    browser.see("main", "frozen").await;
    browser.follow("#enable").await;
    browser.element("#disable").await;
    browser.follow("#undo button").await;
    browser.see("#done", "Undone").await;
    browser.follow("#enable").await;
    browser.element("#disable").await;

    let before = scene.receiver.count_at("/failing");
    browser.go("/parked?event=order-1").await;
    browser.follow("#replay-matching").await;
    // The page loads itself again until the scan is over.
    browser.see("#go", "Replay 1 message").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    scene.receiver.wait_for_at("/failing", before + 2).await;
    installation.wait_for_parked(4).await;
}
