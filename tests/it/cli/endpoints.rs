//! `homing endpoints`

use homing_domain::verdict::ParkReason;
use serde_json::{Value, json};

use super::Home;

const HOOK: &str = "https://example.com/hook?tenant=7&v=2";

impl Home {
    /// Sets the circuit of [`HOOK`]; what was said to programs.
    fn set(&self, how: &[&str]) -> Value {
        let [command, flags @ ..] = how else { unreachable!("a command") };
        self.run(&[&["endpoints", command, HOOK, "--json"], flags].concat()).json()
    }
}

#[test]
fn endpoints_are_listed_shown_disabled_and_enabled() {
    let home = Home::new();
    let none = home.run(&["endpoints", "list"]);
    assert!(none.stderr.contains("Nothing was attempted yet"), "{}", none.stderr);
    assert_eq!(none.done(), "");
    let unknown = home.run(&["endpoints", "get", HOOK]).done();
    assert!(unknown.contains("state         closed\n"), "{unknown}");
    assert!(unknown.contains("successes     0\n") && !unknown.contains("reason"), "{unknown}");

    for url in [HOOK, "https://example.com/other"] {
        home.run(&["subscriptions", "create", "--url", url, "--topic", "#"]).done();
    }
    let disabled = home.run(&["endpoints", "disable", HOOK]);
    let advice = format!("`homing endpoints enable '{HOOK}'` sends it");
    assert!(disabled.stderr.contains(&advice), "{}", disabled.stderr);
    assert_eq!(disabled.done(), format!("disabled {HOOK}\n"));
    home.run(&["endpoints", "disable", "https://example.com/other"]).done();
    home.run(&["endpoints", "enable", "https://example.com/other"]).done();

    let listed = home.run(&["eps", "list"]).done();
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].starts_with("URL  ") && lines[0].ends_with("NEXT PROBE  REASON"), "{listed}");
    assert!(lines[1].starts_with(HOOK) && lines[1].contains("  frozen  "), "{listed}");
    assert!(lines[1].ends_with("an operator disabled it"), "{listed}");
    assert!(lines[2].contains("  closed  "), "{listed}");
    let frozen = home.run(&["endpoints", "list", "--state", "frozen", "--json"]).json();
    assert_eq!(frozen["endpoints"].as_array().unwrap().len(), 1);
    assert_eq!(frozen["endpoints"][0]["consecutive_failures"], 0);
    let open = home.run(&["endpoints", "list", "--state", "open"]);
    assert_eq!(open.stderr, "No endpoint is open.\n");

    let first = home.run(&["endpoints", "list", "--limit", "1"]);
    assert_eq!(first.stderr, format!("There are more: --after '{HOOK}'\n"));
    let rest = home.run(&["endpoints", "list", "--after", HOOK, "--json"]).json();
    assert_eq!(rest["endpoints"][0]["url"], "https://example.com/other");
    assert_eq!((&rest["next"], &rest["corrupt"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_parked_by_a_circuit_are_counted_and_replayed() {
    let home = Home::new();
    let subscribe = |url: &str| {
        let add = ["subscriptions", "create", "--url", url, "--topic", "#", "--json"];
        let id = home.run(&add).json()["id"].clone();
        Some(id.as_str().unwrap().parse().unwrap())
    };
    let (here, elsewhere) = (subscribe(HOOK), subscribe("https://example.com/other"));
    assert_eq!(home.set(&["disable"])["state"], "frozen");
    home.park(&[
        ("e1", "{}", here, ParkReason::Frozen),
        ("e2", "{}", here, ParkReason::CircuitOpen),
        ("e3", "{}", here, ParkReason::Exhausted),
        ("e4", "{}", elsewhere, ParkReason::Frozen),
    ])
    .await;
    let shown = home.run(&["endpoints", "get", HOOK, "--parked"]).done();
    assert!(shown.ends_with("\nparked        2\n"), "{shown}");
    let shown = home.run(&["endpoints", "get", HOOK, "--json"]).json();
    assert_eq!((&shown["state"], shown.get("parked")), (&json!("frozen"), None));

    let enabled = home.run(&["endpoints", "enable", HOOK]).done();
    let expected = format!(
        "enabled {HOOK}\n\
         2 deliveries were parked by its circuit; to replay exactly those:\n\
         \x20 homing endpoints enable --replay '{HOOK}'\n"
    );
    assert_eq!(enabled, expected);
    assert_eq!(home.parked(), 4);

    let replayed = home.run(&["endpoints", "enable", HOOK, "--replay"]).done();
    assert_eq!(replayed, format!("enabled {HOOK}\n2 deliveries were replayed\n"));
    assert_eq!((home.parked(), home.depth("retry").await), (2, 2));
    let again = home.set(&["enable", "--replay"]);
    assert_eq!((&again["parked_by_circuit"], &again["replayed"]), (&json!(0), &json!(0)));
    assert_eq!(again["state"], "closed");
}

#[test]
fn an_endpoint_is_set_also_where_the_broker_is_away() {
    let home = Home::new();
    home.run(&["subscriptions", "create", "--url", HOOK, "--topic", "#"]).done();
    let away = ["--broker", "amqp://127.0.0.1:1", "--quiet"];
    let disabled = home.run(&[&["endpoints", "disable", HOOK], &away[..]].concat()).done();
    assert_eq!(disabled, format!("disabled {HOOK}\n"));
    let enabled = home.run(&[&["endpoints", "enable", HOOK], &away[..]].concat());
    assert_eq!((enabled.code, enabled.stdout), (0, format!("enabled {HOOK}\n")));
    assert!(enabled.stderr.contains("it is not known if more"), "{}", enabled.stderr);
    let enabled = home.run(&[&["endpoints", "enable", HOOK, "--json"], &away[..]].concat()).json();
    assert_eq!(enabled.get("parked_by_circuit"), Some(&Value::Null), "it is not known");
    let shown = home.run(&["endpoints", "get", HOOK, "--json"]).json();
    assert_eq!(shown["state"], "closed");
}

/// Goal: a slip of the keyboard is no success. Method: a URL that is like one that is there, one that
/// is like none, and the flag that means it.
#[test]
fn a_url_that_no_subscription_has_is_refused_with_those_that_are_like_it() {
    let home = Home::new();
    home.run(&["subscriptions", "create", "--url", HOOK, "--topic", "#"]).done();
    for command in ["disable", "enable"] {
        let refused = home.run(&["endpoints", command, "https://example.com/hok?tenant=7&v=2"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        let expected = format!(
            "homing: no subscription sends to https://example.com/hok?tenant=7&v=2; did you mean \
             {HOOK}?; --force sets it nevertheless\n"
        );
        assert_eq!(refused.stderr, expected);
    }
    let refused = home.run(&["endpoints", "disable", "https://shop.example.net/"]);
    assert!(!refused.stderr.contains("did you mean"), "{}", refused.stderr);
    let none = home.run(&["endpoints", "list"]);
    assert!(none.stderr.contains("Nothing was attempted yet"), "{}", none.stderr);

    let forced = home.run(&["endpoints", "disable", "https://shop.example.net/", "--force"]);
    assert_eq!(forced.done(), "disabled https://shop.example.net/\n");
    let enabled = home.run(&["endpoints", "enable", "https://shop.example.net/"]).done();
    assert!(enabled.starts_with("enabled https://shop.example.net/\n"), "{enabled}");
}
