//! Commands.

use std::process::Command;

use serde_json::Value;

use super::{
    Leaves::{self, Elsewhere, Nothing, Record},
    SETTINGS, open_circuits, what,
};
use crate::support::process::Site;

/// A command, its arguments, and what it leaves on record.
type Known = (&'static str, &'static [&'static str], Leaves);

const URL: &str = "https://example.com/hook";

/// In an order in which each can be run. `{id}` is the subscription, `{replay}` a replay.
const COMMANDS: [Known; 42] = [
    ("topology apply", &[], Record("topology applied")),
    ("subscriptions create", &["--url", URL, "--topic", "order.#"], Record("subscription created")),
    ("subscriptions update", &["{id}", "--description", "x"], Record("subscription updated")),
    ("subscriptions rotate-secret", &["{id}"], Record("subscription updated")),
    ("endpoints disable", &[URL], Record("endpoint disabled")),
    ("endpoints probe", &[URL], Record("endpoint probed")),
    ("endpoints enable", &[URL], Record("endpoint enabled")),
    ("subscriptions delete", &["{id}"], Record("subscription deleted")),
    ("parked replay", &["--reason", "gone"], Elsewhere),
    ("parked drop", &["--reason", "gone", "--yes"], Elsewhere),
    ("source pause", &["main"], Record("source paused")),
    ("source resume", &["main"], Record("source resumed")),
    ("source reset", &["main", "--to", "largest"], Record("source reset")),
    ("replay stop", &["{replay}"], Record("replay stopped")),
    ("replay resume", &["{replay}"], Record("replay resumed")),
    ("tokens create", &["ci"], Record("token created")),
    ("tokens delete", &["ci"], Record("token deleted")),
    ("keys rotate", &[], Record("keys rotated")),
    // Those of its own subscription.
    ("listen", &[], Elsewhere),
    ("dev", &[], Elsewhere),
    ("subscriptions apply", &[], Elsewhere),
    ("run", &[], Nothing),
    ("publish", &[], Nothing),
    ("subscriptions list", &[], Nothing),
    ("subscriptions get", &[], Nothing),
    ("subscriptions test", &[], Nothing),
    ("subscriptions verify", &[], Elsewhere),
    ("endpoints list", &[], Nothing),
    ("endpoints get", &[], Nothing),
    ("parked list", &[], Nothing),
    ("parked get", &[], Nothing),
    ("parked export", &[], Nothing),
    ("attempts", &[], Nothing),
    ("audit", &[], Nothing),
    ("explain", &[], Nothing),
    ("source list", &[], Nothing),
    ("source get", &[], Nothing),
    ("schedule", &[], Nothing),
    ("topology plan", &[], Nothing),
    ("topology check", &[], Nothing),
    ("tokens list", &[], Nothing),
    ("keys generate", &[], Nothing),
];

/// Further ones that change nothing.
const HARMLESS: [&str; 17] = [
    "open",
    "subscriptions export",
    "deliveries",
    "replay list",
    "replay get",
    "keys list",
    "errors",
    "events",
    "ledger get",
    "ledger compare",
    "history",
    "topics",
    "status",
    "bench",
    "config",
    "completions",
    "man",
];

#[tokio::test]
async fn every_command_that_changes_something_is_on_record() {
    let site = Site::new(&[50], SETTINGS);
    let mut found = leaves(&site, &[]);
    let mut listed: Vec<_> =
        COMMANDS.iter().map(|(name, ..)| *name).chain(HARMLESS).map(str::to_owned).collect();
    found.sort_unstable();
    listed.sort_unstable();
    assert_eq!(found, listed, "say what a new command leaves on record");

    let user = Command::new("id").arg("-un").output().expect("`id` can be run").stdout;
    let user = String::from_utf8(user).expect("a name");
    let (mut id, mut replay) = (String::new(), String::new());
    for (name, arguments, leaves) in COMMANDS {
        let Record(leaves) = leaves else { continue };
        if name == "endpoints probe" {
            open_circuits(&site).await;
        }
        if arguments.contains(&"{replay}") && replay.is_empty() {
            let begun = site.run(&["--json", "replay", "--since", "1h", "--detach"]);
            let begun: Value = serde_json::from_str(&begun).expect("an answer in JSON");
            replay = begun["id"].as_str().expect("an id").to_owned();
        }
        let words = name.split(' ').chain(arguments.iter().copied());
        let words = words.map(|word| match word {
            "{id}" => id.as_str(),
            "{replay}" => replay.as_str(),
            word => word,
        });
        site.run(&words.collect::<Vec<_>>());
        let listed: Value = serde_json::from_str(&site.run(&["audit", "--limit", "1", "--json"]))
            .expect("an answer in JSON");
        let record = &listed["records"][0];
        assert_eq!(what(record), leaves, "{name}: {record}");
        assert_eq!(record["via"], "cli", "{name}: {record}");
        let actor = record["actor"].as_str().unwrap_or_default();
        assert!(actor.starts_with(&format!("{}@", user.trim())), "{name}: {record}");
        if leaves == "subscription created" {
            id = record["object"].as_str().expect("an id").to_owned();
        }
    }
    let shown = site.run(&["audit", "--object", URL, "--action", "disabled"]);
    assert!(shown.contains("state: closed → frozen"), "{shown}");
}

/// The commands that have no commands below them.
fn leaves(site: &Site, above: &[&str]) -> Vec<String> {
    let help = site.run(&[above, &["--help"]].concat());
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.trim().is_empty());
    // A description that is continued begins farther to the right.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<_> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    if names.is_empty() {
        return vec![above.join(" ")];
    }
    names.iter().flat_map(|name| leaves(site, &[above, &[*name]].concat())).collect()
}
