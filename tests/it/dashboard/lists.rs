//! Lists: order, filters, selections, what is kept current, and keys.

use homing_domain::circuit::StateName;
use homing_store::Intervention;

use super::{Scene, browser::Browser};
use crate::{
    circuits::wait_for_state,
    held::set,
    support::{broker::Raw, eventually, holds},
};

const ENTER: char = '\u{e007}';
const ESCAPE: char = '\u{e00c}';

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_ordered_by_column_the_broken_ones_first() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    let first = "tbody tr:first-child td.url";
    browser.go_until("/endpoints", "tbody tr:nth-child(4)").await;
    browser.see(first, "/gone").await;
    browser.see("tbody tr:nth-child(2) td.url", "/failing").await;
    assert_eq!(browser.count("#sort-broken").await, 1);
    browser.follow("#sort-failures").await;
    browser.see(first, "/failing").await;
    assert_eq!(browser.count("th[aria-sort=descending] #sort-failures").await, 1);
    browser.follow("#sort-url").await;
    browser.see(first, "/failing").await;
    browser.see("tbody tr:nth-child(2) td.url", "/gone").await;
    browser.fill("#q", "WELL").await;
    browser.follow("#find").await;
    assert_eq!(browser.count("tbody tr").await, 2);
    // The whole of a long URL is there for who has the focus on it.
    let long = "const a = [...document.querySelectorAll('td.url a')].find((one) => \
                one.querySelector('.middle')); a.focus(); return [a.scrollWidth <= a.clientWidth, \
                a.textContent === a.title]";
    assert_eq!(browser.script(long).await, serde_json::json!([true, true]));
    browser.go("/endpoints?sort=beauty").await;
    browser.see("main", "`beauty` is not an order").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_ordered_by_column() {
    let scene = Scene::set().await;
    let publisher = &scene.running.installation.publisher;
    // homing's own are not listed.
    for (id, topic) in [("a-1", "a.unwanted"), ("b-1", "b.unwanted"), ("b-2", "b.unwanted")] {
        publisher.publish(Raw::new(topic, id, "{}")).await;
    }
    let browser = Browser::open(scene.url()).await;
    let first = "tbody tr:first-child";
    let all = "tbody tr:nth-child(4):last-child";
    browser.go_until("/topics?sort=unwanted", all).await;
    eventually(async || {
        browser.go("/topics?sort=unwanted").await;
        let seen = browser.text(first).await;
        holds(seen.contains("b.unwanted") && seen.contains('2'), seen)
    })
    .await;
    browser.follow("#sort-events").await;
    browser.see(first, "order.paid").await;
    assert_eq!(browser.count("th[aria-sort=descending] #sort-events").await, 1);
    browser.follow("#sort-topic").await;
    browser.see(first, "a.unwanted").await;
    browser.see("tbody tr:nth-child(2)", "b.unwanted").await;
    browser.see("tbody tr:nth-child(3)", "old.one").await;
    browser.follow("#sort-last").await;
    assert_eq!(browser.count("th[aria-sort=descending] #sort-last").await, 1);
    browser.go("/topics?sort=beauty").await;
    browser.see("main", "`beauty` is not an order").await;
}

/// Goal: several endpoints are set at once, after a page that shows how many they are, and none that
/// was not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_selected_or_match_are_set_after_a_count() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let (well, gone) = (scene.receiver.url("/well"), scene.receiver.url("/gone"));
    let browser = Browser::open(scene.url()).await;
    browser.go_until("/endpoints", "tbody tr:nth-child(4)").await;
    browser.follow("#disable-chosen").await;
    browser.see("main", "Select endpoints first").await;
    browser.go("/endpoints").await;
    browser.click(&format!("[aria-label=\"Select {well}\"]")).await;
    browser.click(&format!("[aria-label=\"Select {gone}\"]")).await;
    browser.follow("#disable-chosen").await;
    // The other one is frozen already.
    browser.see("h1", "Disable 1 endpoint?").await;
    browser.see("#named", "/well").await;
    browser.assert_accessible("a selection").await;
    browser.follow("#go").await;
    browser.see("#said", "1 endpoint is disabled.").await;
    wait_for_state(installation, &well, StateName::Frozen).await;

    browser.go("/endpoints?q=WELL").await;
    browser.follow("#pause-matching").await;
    browser.see("h1", "Pause 1 endpoint?").await;
    browser.click("#for option:nth-child(2)").await;
    browser.follow("#go").await;
    browser.see("#said", "1 endpoint is paused.").await;
    assert_eq!(browser.count("tbody .state.wait").await, 1);

    browser.go("/endpoints?state=frozen").await;
    browser.follow("#probe-matching").await;
    browser.see("h1", "Nothing to probe").await;
    browser.follow("#back").await;
    assert_eq!(browser.path().await, "/endpoints?state=frozen");
    browser.follow("#enable-matching").await;
    browser.see("h1", "Enable 2 endpoints?").await;
    browser.follow("#go").await;
    browser.see("#said", "2 endpoints are enabled.").await;
    wait_for_state(installation, &gone, StateName::Closed).await;
    browser.go("/audit?kind=endpoint&action=enabled").await;
    assert_eq!(browser.count("tbody tr").await, 2, "each is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_and_what_is_parked_are_ordered_by_column() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    let rows = async |list: &str| {
        browser.element(list).await;
        let rows = "return [...document.querySelectorAll('tbody tr')].map((row) => \
                    row.querySelector('td:not(.pick) a').title)";
        let rows = browser.script(rows).await;
        serde_json::from_value::<Vec<String>>(rows).expect("texts")
    };
    browser.go("/subscriptions").await;
    let created = rows("th[aria-sort=ascending] #sort-created").await;
    assert_eq!(created.len(), 4);
    browser.follow("#sort-created").await;
    let newest = rows("th[aria-sort=descending] #sort-created").await;
    assert!(newest.iter().eq(created.iter().rev()), "{newest:?}");
    browser.follow("#sort-url").await;
    let by_url = rows("th[aria-sort=ascending] #sort-url").await;
    assert!(by_url.is_sorted() && by_url != created, "{by_url:?}");
    // The order stays where the list is filtered.
    browser.fill("#q", "well").await;
    browser.follow("#find").await;
    assert_eq!(rows("th[aria-sort=ascending] #sort-url").await.len(), 2);
    browser.go("/subscriptions?sort=beauty").await;
    browser.see("main", "`beauty` is not an order").await;

    browser.go("/parked").await;
    let newest = rows("th[aria-sort=descending] #sort-parked").await;
    browser.follow("#sort-parked").await;
    let oldest = rows("th[aria-sort=ascending] #sort-parked").await;
    assert!(oldest.iter().eq(newest.iter().rev()) && oldest.len() == 4, "{oldest:?}");
    browser.fill("#topic", "order.*").await;
    browser.follow("#search").await;
    assert_eq!(
        rows("th[aria-sort=ascending] #sort-parked").await,
        oldest.iter().filter(|id| id.starts_with("order")).cloned().collect::<Vec<_>>()
    );
    browser.follow("#sort-parked").await;
    assert_eq!(browser.path().await, "/parked?topic=order.*");
    browser.go("/parked?sort=beauty").await;
    browser.see("main", "`beauty` is not an order").await;
}

/// Goal: an endpoint whose state changes after the count is not the one that was shown. Method: one
/// is frozen between the page that counts and the button.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_changes_after_the_count_is_left_alone() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let (well, gone) = (scene.receiver.url("/well"), scene.receiver.url("/gone"));
    let browser = Browser::open(scene.url()).await;
    browser.go_until("/endpoints", "tbody tr:nth-child(4)").await;
    browser.go("/endpoints?state=frozen").await;
    browser.follow("#enable-matching").await;
    browser.see("h1", "Enable 1 endpoint?").await;
    set(installation, &gone, Intervention::Enable).await;
    set(installation, &well, Intervention::Disable).await;
    browser.follow("#go").await;
    browser.see("#said", "0 endpoints are enabled. 1 other was changed in between").await;
    wait_for_state(installation, &well, StateName::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_found_by_any_part() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    for (part, found) in [("FAIL", 1), ("old.", 1), ("script", 4), ("nowhere", 0)] {
        browser.go("/subscriptions").await;
        browser.fill("#q", part).await;
        browser.follow("#find").await;
        assert_eq!(browser.count("tbody tr").await, found, "{part}");
    }
    browser.go_until("/subscriptions?q=/gone", "tbody .state.bad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_deliveries_are_counted_then_sent_again_or_dropped() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let before = scene.receiver.count_at("/failing");
    let browser = Browser::open(scene.url()).await;
    browser.go("/parked?topic=order.*").await;
    browser.see("tbody", "/failing").await;
    browser.follow("#replay-chosen").await;
    browser.see("main", "Select deliveries first").await;
    browser.go("/parked?topic=order.*").await;
    browser.click("tbody tr:nth-child(1) td.pick input").await;
    browser.click("tbody tr:nth-child(3) td.pick input").await;
    browser.follow("#replay-chosen").await;
    browser.see("main", "those that are selected").await;
    browser.see("#go", "Replay 2 messages").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    scene.receiver.wait_for_at("/failing", before + 4).await;
    installation.wait_for_parked(4).await;

    browser.follow("#back").await;
    assert_eq!(browser.path().await, "/parked?topic=order.*");
    browser.click("th.pick input").await;
    assert_eq!(browser.count("td.pick input:checked").await, 3, "all of the page are selected");
    browser.follow("#drop-chosen").await;
    browser.see("#go", "Drop 3 messages").await;
    browser.click("#sure").await;
    browser.follow("#go").await;
    browser.see("main", "Done.").await;
    installation.wait_for_parked(1).await;
    browser.go("/audit?kind=parked&action=dropped").await;
    browser.see("tbody", "ids=").await;
}

/// Goal: every list shows what comes, without being loaded anew, and leaves alone who is at work.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_kept_current() {
    let scene = Scene::set().await;
    let installation = &scene.running.installation;
    let browser = Browser::open(scene.url()).await;
    browser.go_until("/endpoints", "tbody tr:nth-child(4)").await;
    browser.script("window.loaded = 'once'").await;
    set(installation, &scene.receiver.url("/well"), Intervention::Disable).await;
    eventually(async || {
        let frozen = browser.count("tbody .state.bad").await;
        holds(frozen == 2, format!("{frozen} frozen"))
    })
    .await;
    assert_eq!(browser.script("return window.loaded").await, "once");
    browser.go("/deliveries").await;
    browser.script("window.loaded = 'once'").await;
    let raw = Raw::new("order.new", "comes-later", "{}");
    installation.publisher.publish(raw).await;
    browser.see("tbody", "comes-later").await;
    assert_eq!(browser.script("return window.loaded").await, "once");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_lead_to_pages_and_rows() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    let focused = "const it = document.activeElement; return it.title || it.id";
    browser.go("/").await;
    browser.press('g').await;
    browser.press('e').await;
    browser.see("h1", "Endpoints").await;
    browser.press('g').await;
    browser.press(',').await;
    browser.see("h1", "Settings").await;
    browser.go_until("/endpoints?sort=url", "tbody tr:nth-child(2)").await;
    browser.press('j').await;
    assert_eq!(browser.script(focused).await, scene.receiver.url("/failing"));
    browser.press('j').await;
    assert_eq!(browser.script(focused).await, scene.receiver.url("/gone"));
    browser.press('k').await;
    browser.press(ENTER).await;
    browser.see("h1", "/failing").await;
    browser.go("/parked").await;
    browser.press('j').await;
    browser.press('x').await;
    assert_eq!(browser.count("td.pick input:checked").await, 1);
    browser.go("/parked").await;
    browser.press('?').await;
    browser.see("#keys", "The next row").await;
    browser.assert_accessible("the keys").await;
    browser.press(ESCAPE).await;
    browser.press('/').await;
    assert_eq!(browser.script(focused).await, "anything");
    // In a field, they are letters.
    browser.press('j').await;
    assert_eq!(browser.script("return document.getElementById('anything').value").await, "j");
    // They can be switched off.
    browser.go("/parked").await;
    browser.press('?').await;
    browser.click("#keys-on").await;
    browser.go("/topics").await;
    browser.press('/').await;
    assert_eq!(browser.script(focused).await, "");
    assert_eq!(browser.count("dialog[open]").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_exact_at_the_focus_and_local_on_request() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/parked").await;
    let exact = "const time = document.querySelector('tbody time'); time.focus(); return [time.title, \
                 getComputedStyle(time, '::after').content]";
    let seen = browser.script(exact).await.to_string();
    assert!(seen.contains(" UTC"), "{seen}");
    browser.click("#zone button").await;
    browser.see("#zone", "Times are local").await;
    let seen = browser.script(exact).await.to_string();
    assert!(seen.contains(" local"), "{seen}");
    browser.go("/endpoints").await;
    browser.see("#zone", "Times are local").await;
    browser.click("#zone button").await;
    browser.see("#zone", "All times are UTC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_copied_by_its_button() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.go("/event?id=order-1").await;
    let listen = "document.addEventListener('copy', () => { window.copied = document.activeElement.value; }); \
                  navigator.clipboard.writeText = () => Promise.reject()";
    browser.script(listen).await;
    browser.click("h1 button.copy").await;
    browser.see("h1 button.copy", "Copied").await;
    assert_eq!(browser.script("return window.copied").await, "order-1");
}

/// Goal: on a phone, all pages are reached by a button, and what is touched is large enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_has_a_menu_and_targets_for_fingers() {
    let scene = Scene::set().await;
    let browser = Browser::open(scene.url()).await;
    browser.look(super::browser::Look { width: 390, scheme: "light" }).await;
    browser.go("/parked").await;
    let small = "return [...document.querySelectorAll('button, .button, input, select, summary, td a, nav a')]\
                 .filter((one) => one.checkVisibility() && one.getClientRects().length > 0 && one.type !== 'hidden')\
                 .filter((one) => { const label = one.closest('label') ?? one; \
                 const { width, height } = label.getBoundingClientRect(); return width < 24 || height < 24; })\
                 .map((one) => one.outerHTML.slice(0, 120))";
    assert_eq!(browser.script(small).await, serde_json::json!([]));
    browser.click("#menu").await;
    browser.keep("menu").await;
    browser.follow(".nav a[href=\"/topics\"]").await;
    browser.see("h1", "Topics").await;
}
