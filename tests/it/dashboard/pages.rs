//! Every page, in both colour schemes, on a desk and on a phone; pictures are kept.

use tokio::time::Instant;

use super::{
    SCRIPT, Scene,
    browser::{Browser, Look},
};
use crate::{
    api::start_with,
    support::{PATIENCE, broker::Raw, proxy::Proxy},
};

const LOOKS: [Look; 4] = [
    Look { width: 1_280, scheme: "light" },
    Look { width: 1_280, scheme: "dark" },
    Look { width: 390, scheme: "light" },
    Look { width: 390, scheme: "dark" },
];

/// Opens everything that is folded.
const OPEN_ALL: &str = "document.querySelectorAll('details').forEach(one => { one.open = true })";

/// Nothing of what came from outside ran, was asked for, or was stopped only by the policy.
async fn assert_nothing_ran(browser: &Browser, page: &str) {
    let ran = browser.script("return window.ran === undefined").await;
    assert_eq!(ran, true, "{page}: a script from outside ran");
    assert!(!browser.alerts().await, "{page}: a script from outside asks something");
    assert_eq!(browser.complaints().await, Vec::<String>::new(), "{page}");
    let elements = "body script, body img, body iframe, body [onerror], body [style]";
    assert_eq!(browser.count(elements).await, 0, "{page}: an element from outside");
}

/// Panics unless the page shows the text, has one heading, and is no wider than the screen.
async fn assert_shows(browser: &Browser, look: Look, (name, path, text): (&str, &str, &str)) {
    browser.look(look).await;
    browser.go(path).await;
    browser.script(OPEN_ALL).await;
    browser.see("main", text).await;
    assert_eq!(browser.count("h1").await, 1, "{name}");
    let Look { width, scheme } = look;
    let wide = browser.script("return document.documentElement.scrollWidth").await;
    let fits = wide.as_u64().is_some_and(|wide| wide <= width.into());
    assert!(fits, "{name} at {width}: {wide}");
    browser.keep(&format!("{name}-{width}-{scheme}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_shows_what_it_should_and_runs_nothing_from_outside() {
    let scene = Scene::set().await;
    // Eight deliveries to those that are well, two attempts at three, one at what is gone.
    scene.wait_for_records(13).await;
    let failing = scene.receiver.url("/failing");
    let browser = Browser::open(scene.url()).await;
    browser.look(LOOKS[0]).await;
    browser.go("/parked?event=order-%3Cscript%3Ealert(2)%3C/script%3E").await;
    browser.follow("tbody a").await;
    browser.element("#body").await;
    let message = browser.path().await;
    browser.go("/subscriptions").await;
    browser.follow("tbody a").await;
    browser.element("#edit").await;
    let subscription = browser.path().await;
    browser.go("/event?id=order-1").await;
    browser.script(OPEN_ALL).await;
    browser.follow("a.attempt").await;
    browser.element("#request").await;
    let attempt = browser.path().await;
    let pages = [
        ("overview", "/".to_owned(), "are parked"),
        ("endpoints", "/endpoints".to_owned(), "frozen"),
        ("endpoints-frozen", "/endpoints?state=frozen".to_owned(), "410 Gone"),
        ("endpoint", format!("/endpoint?url={failing}"), "refused 503"),
        ("endpoint-errors", format!("/endpoint?url={failing}"), "503 from the endpoint <script>"),
        ("deliveries", "/deliveries".to_owned(), "order.paid"),
        ("deliveries-parked", "/deliveries?state=parked".to_owned(), "503 from the endpoint"),
        ("deliveries-wrong", "/deliveries?state=many".to_owned(), "Not searched"),
        ("attempts", "/attempts".to_owned(), "order.paid"),
        // Where the list of attempts was before.
        ("attempts-wrong", "/deliveries?status=many".to_owned(), "Not searched"),
        ("event", "/event?id=order-1".to_owned(), "is parked since"),
        ("event-payload", "/event?id=order-1".to_owned(), "curl -sS"),
        ("attempt", attempt, "x-homing-topic"),
        ("event-unknown", "/event?id=nothing".to_owned(), "Nothing is known"),
        ("parked", "/parked".to_owned(), "exhausted"),
        ("parked-none", "/parked?topic=nothing".to_owned(), "matches"),
        ("message", message, SCRIPT),
        ("subscriptions", "/subscriptions".to_owned(), SCRIPT),
        ("subscription", subscription.clone(), SCRIPT),
        ("subscription-new", "/subscriptions/new".to_owned(), "One a line"),
        ("subscription-edit", format!("{subscription}/edit"), "Edit subscription"),
        ("settings", "/settings".to_owned(), "Who you are here"),
        ("tokens", "/tokens".to_owned(), "There are none in the store"),
        ("alerting", "/alerting".to_owned(), "None is alerted"),
        ("audit", "/audit".to_owned(), "created"),
        ("topics", "/topics".to_owned(), "Topics of which events came"),
        ("replays", "/replays".to_owned(), "There was no replay yet"),
        (
            "replays-preview",
            "/replays?preview=1&since=2020-01-01T00:00&until=2021-01-01T00:00".to_owned(),
            "0 selected",
        ),
        ("replays-wrong", "/replays?preview=1".to_owned(), "when the window begins"),
        ("sources", "/sources".to_owned(), "livestream"),
        ("search", "/search?q=order".to_owned(), "order-2"),
        ("search-wrong", "/search?q=order&since=soon".to_owned(), "Not searched"),
        ("docs", "/docs".to_owned(), "Idempotency-Key"),
        ("problem", "/subscriptions/none".to_owned(), "no such subscription"),
    ];
    for (name, path, text) in &pages {
        for look in LOOKS {
            assert_shows(&browser, look, (name, path, text)).await;
        }
        // The answer of an address that names nothing is in the console.
        if *name == "problem" {
            browser.complaints().await;
        }
        assert_nothing_ran(&browser, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_is_kept_current() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/").await;
    browser.see(".tiles", "5 in the last hour").await;
    browser.script("window.loaded = 'once'").await;
    let installation = &scene.running.installation;
    for id in ["a", "b", "c"] {
        installation.publisher.publish(Raw::new("unwanted", id, "{}")).await;
    }
    // Five before: four events, and homing's own that an endpoint was frozen.
    browser.see(".tiles", "8 in the last hour").await;
    assert_eq!(
        browser.script("return window.loaded").await,
        "once",
        "the page was not loaded anew"
    );
    assert_nothing_ran(&browser, "overview").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    const TAB: char = '\u{e004}';
    const ENTER: char = '\u{e007}';
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/endpoints").await;
    let focused = "const it = document.activeElement; return it.innerText + ' ' + \
                   getComputedStyle(it).outlineStyle";
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        browser.press(TAB).await;
        let now = browser.script(focused).await.as_str().unwrap_or_default().to_owned();
        assert!(now.ends_with("solid") || now.ends_with("auto"), "the focus is not seen: {now}");
        seen.push(now);
        if seen.last().is_some_and(|last| last.starts_with("frozen")) {
            break;
        }
        assert!(Instant::now() < deadline && seen.len() < 40, "{seen:?}");
    }
    assert!(seen[0].starts_with("Skip to the content"), "{seen:?}");
    browser.press(ENTER).await;
    browser.see("tbody", "/gone").await;
    assert_eq!(browser.path().await, "/endpoints?state=frozen");
}

/// Goal: a page that is not kept current any more does not look as if it were. Method: a server that
/// hangs, behind an open connection; then it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_hears_nothing_says_so_within_seconds() {
    let running = Box::pin(start_with("")).await;
    let proxy = Proxy::to(&running.base_url).await;
    let browser = Browser::open(&proxy.url().replace("amqp://guest:guest@", "http://")).await;
    browser.go("/").await;
    browser.see("main", "kept current").await;
    let is_silent = || browser.script("return !document.getElementById('silence').hidden");
    browser.element("[data-live=\"on\"]").await;
    assert_eq!(is_silent().await, false);

    proxy.stall();
    browser.see("#silence", "No news from homing since").await;
    browser.element("body[data-live=\"off\"]").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    proxy.flow();
    browser.element("body[data-live=\"on\"]").await;
    assert_eq!(is_silent().await, false);
}
