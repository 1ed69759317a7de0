//! `homing subscriptions apply` and `export`

use serde_json::{Value, json};

use super::Home;

const FILE: &[u8] = b"
subscriptions:
  - description: billing
    url: https://example.com/billing
    topics: [order.paid, 'refund.#']
    rate_limit: 10
  - url: https://example.com/all
    topics: ['#']
    secrets: []
";

#[test]
fn the_subscriptions_become_those_of_the_file() {
    let home = Home::new();
    home.write("subscriptions.yaml", FILE);
    let other = ["subscriptions", "create", "--url", "https://example.com/other", "--topic", "a"];
    home.run(&other).done();
    let apply = |flags: &[&str]| {
        home.run(&[&["subscriptions", "apply", "subscriptions.yaml"], flags].concat())
    };
    let planned = apply(&["--dry-run"]);
    assert!(planned.stderr.contains("1 others are not in the file"), "{}", planned.stderr);
    let planned = planned.done();
    assert!(
        planned.contains("create  https://example.com/billing")
            && planned.ends_with("Nothing was changed.\n"),
        "{planned}"
    );
    let refused = apply(&[]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{refused:?}");
    let listed = || home.run(&["subscriptions", "list", "--json"]).json()["subscriptions"].clone();
    assert_eq!(listed().as_array().unwrap().len(), 1, "nothing was done yet");

    let done = apply(&["--yes", "--json"]).json();
    assert_eq!(done["created"].as_array().unwrap().len(), 2, "{done}");
    assert!(done["created"][0]["secret"].as_str().unwrap().starts_with("whsec_"), "{done}");
    assert_eq!(done["created"][1]["secrets"], json!([]), "{done}");
    assert!(apply(&[]).done().ends_with("Nothing to change.\n"), "it is the same now");

    let changed = String::from_utf8_lossy(FILE).replace("rate_limit: 10", "schedule: short");
    home.write("subscriptions.yaml", changed.as_bytes());
    let planned = apply(&["--dry-run"]).done();
    assert!(
        planned.contains("rate_limit: 10 → null") && planned.contains("schedule: null → \"short\""),
        "{planned}"
    );
    let done = apply(&["--yes", "--prune"]).done();
    assert!(done.ends_with("0 created, 1 updated, 1 deleted, 0 failed\n"), "{done}");
    let urls: Vec<_> = listed().as_array().unwrap().iter().map(|it| it["url"].clone()).collect();
    assert_eq!(urls, ["https://example.com/billing", "https://example.com/all"]);
    let audit = home.run(&["audit", "--kind", "subscription", "--json"]).json();
    let actions: Vec<_> =
        audit["records"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
    assert_eq!(actions[..2], [json!("deleted"), json!("updated")]);
}

#[test]
fn what_is_exported_is_applied_again() {
    let home = Home::new();
    home.write("subscriptions.yaml", FILE);
    home.run(&["subscriptions", "apply", "subscriptions.yaml", "--yes"]).done();
    let key_pair =
        ["--url", "https://example.com/v1a", "--topic", "a", "--signature-scheme", "v1a"];
    home.run(&[&["subscriptions", "create"], &key_pair[..]].concat()).done();
    let exported = home.run(&["subscriptions", "export"]).done();
    assert_eq!(exported.matches("signature_scheme: \"v1a\"").count(), 1, "{exported}");
    assert!(exported.starts_with("subscriptions:\n  - id: \""), "{exported}");
    home.write("exported.yaml", exported.as_bytes());
    let apply = |home: &Home, file| home.run(&["subscriptions", "apply", file, "--yes", "--prune"]);
    assert!(apply(&home, "exported.yaml").done().ends_with("Nothing to change.\n"));

    let second = Home::new();
    second.write("exported.yaml", exported.as_bytes());
    let refused = apply(&second, "exported.yaml");
    assert!(
        refused.code == 2 && refused.stderr.contains("without `id` it is created"),
        "{refused:?}"
    );
    let portable = home.run(&["subscriptions", "export", "--without-ids"]).done();
    second.write("portable.yaml", portable.as_bytes());
    apply(&second, "portable.yaml").done();
    let list =
        |home: &Home| home.run(&["subscriptions", "export", "--without-ids", "--json"]).json();
    assert_eq!(list(&second), list(&home));
}

#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let home = Home::new();
    let wrong =
        "subscriptions: [{url: https://a.example/, topics: [t]}, {url: ftp://b/, topics: [t]}]";
    home.write("wrong.yaml", wrong.as_bytes());
    let answer = home.run(&["subscriptions", "apply", "wrong.yaml", "--yes"]);
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.starts_with("homing: `subscriptions[1]`"), "{}", answer.stderr);
    let listed = home.run(&["subscriptions", "list", "--json"]).json();
    assert_eq!(listed["subscriptions"], Value::Array(Vec::new()));
}
