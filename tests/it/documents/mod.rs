//! The documentation, tried: blocks of code in README and `docs` are run against a real homing, and
//! what they print is compared with what is shown.
//!
//! `docs/README.md` has the words behind a fence. Placeholders in capitals (`ID`, `EVENT`, `URL`) and
//! addresses stand for those of the [`scene`]. A block of `sh` has to succeed; one of `console` has to
//! print what is shown, in [`shape`]; programs have to end well, and settings to be accepted.

mod blocks;
mod links;
mod scene;
mod shape;

use std::{collections::BTreeSet, fs, path::Path};

use self::{
    blocks::{Block, Trial, blocks, documents, read},
    scene::{Printed, Scene},
    shape::fits,
};
use crate::support::{clients, eventually};

/// Languages that are not run, and say nothing that could be.
const PICTURES: [&str; 2] = ["", "mermaid"];

/// Languages that are run.
const RUN: [&str; 7] = ["sh", "console", "python", "js", "go", "java", "toml"];

/// The document whose commands measure for minutes and more.
const MEASUREMENTS: &str = "docs/PERFORMANCE.md";

/// The blocks that are not run, by document and reason.
const NOT_RUN: [(&str, &str); 18] = [
    ("docs/RELIABILITY.md", "it-needs-cargo-fuzz"),
    ("docs/SCALING.md", "it-loads-the-whole-machine"),
    ("docs/commands.md", "it-runs-until-it-is-stopped"),
    ("docs/commands.md", "it-asks-another-machine"),
    ("docs/commands.md", "it-asks-another-machine"),
    ("docs/commands.md", "it-changes-what-is-subscribed"),
    ("docs/commands.md", "it-changes-what-is-subscribed"),
    ("docs/deploy.md", "it-builds-for-minutes"),
    ("docs/deploy.md", "it-needs-systemd-and-root"),
    ("docs/deploy.md", "no-container-engine-in-the-suite"),
    ("docs/deploy.md", "no-container-engine-in-the-suite"),
    ("docs/deploy.md", "no-container-engine-in-the-suite"),
    ("docs/endpoints.md", "its-files-are-not-here"),
    ("docs/endpoints.md", "it-needs-a-table-of-yours"),
    ("docs/operate.md", "it-loads-the-whole-machine"),
    ("docs/quickstart.md", "it-runs-until-it-is-stopped"),
    ("docs/security.md", "roles-belong-to-the-whole-server"),
    ("docs/store.md", "roles-belong-to-the-whole-server"),
];

/// Commands that change nothing, so that they can be repeated until they print what is shown.
const READING: [&str; 6] = [
    "homing status",
    "homing explain",
    "homing attempts",
    "homing deliveries",
    "homing parked list",
    "homing source list",
];

/// A test for each document.
macro_rules! tried {
    ($($name:ident: $path:literal,)*) => {
        const TRIED: &[&str] = &[$($path),*];
        $(
            #[tokio::test]
            async fn $name() {
                try_document($path).await;
            }
        )*
    };
}

tried! {
    readme: "README.md",
    api: "docs/api.md",
    backup: "docs/backup.md",
    delivery: "docs/delivery.md",
    deploy: "docs/deploy.md",
    endpoints: "docs/endpoints.md",
    investigate: "docs/investigate.md",
    livestream: "docs/livestream.md",
    monitoring: "docs/monitoring.md",
    operate: "docs/operate.md",
    publish: "docs/publish.md",
    quickstart: "docs/quickstart.md",
    reliability: "docs/RELIABILITY.md",
    replay: "docs/REPLAY.md",
    security: "docs/security.md",
    store: "docs/store.md",
    subscriptions: "docs/subscriptions.md",
    troubleshooting: "docs/troubleshooting.md",
    verify: "docs/verify.md",
    workfront: "docs/workfront.md",
}

/// Goal: no block is left out without a word. Method: all fences of all documents.
#[test]
fn every_block_is_tried_or_says_why_not() {
    let mut left_out = Vec::new();
    for path in documents() {
        for block in blocks(&path) {
            let place = format!("{path}:{}", block.line);
            match &block.trial {
                _ if path == MEASUREMENTS || PICTURES.contains(&block.language.as_str()) => {}
                Trial::Not(reason) => left_out.push((path.clone(), reason.clone())),
                Trial::By(test) => {
                    let name = Path::new(&path).file_name().expect("a name").to_string_lossy();
                    assert!(read(test).contains(&*name), "{place}: {test} does not name {name}");
                }
                Trial::Run => {
                    assert!(RUN.contains(&block.language.as_str()), "{place}: {}", block.language);
                    assert!(TRIED.contains(&path.as_str()), "{path} has no test");
                }
            }
        }
    }
    let expected = NOT_RUN.map(|(path, reason)| (path.to_owned(), reason.to_owned()));
    assert_eq!(left_out, expected, "blocks that are not run");
    let with_blocks: BTreeSet<_> = TRIED.iter().copied().collect();
    assert_eq!(with_blocks.len(), TRIED.len(), "each document once");
}

async fn try_document(path: &str) {
    let mut blocks = blocks(path);
    blocks.retain(|block| block.trial == Trial::Run && RUN.contains(&block.language.as_str()));
    assert!(!blocks.is_empty(), "{path}: nothing is run");
    let scene = Scene::open(path, &blocks).await;
    for block in &blocks {
        let place = format!("{path}:{}", block.line);
        match block.language.as_str() {
            "sh" => succeeds(&place, &scene.shell(&block.text).await),
            "console" => talks(&place, &scene, &block.text).await,
            _ => succeeds(&place, &program(&scene, block).await),
        }
    }
}

#[track_caller]
fn succeeds(place: &str, printed: &Printed) {
    assert!(printed.succeeded, "{place}: {}", printed.text());
}

/// Runs the commands of a session one after the other.
async fn talks(place: &str, scene: &Scene, session: &str) {
    for (command, shown) in commands(session) {
        if READING.iter().any(|reading| command.starts_with(reading)) {
            eventually(async || fits(&shown, &scene.shell(&command).await.text())).await;
            continue;
        }
        let printed = scene.shell(&command).await;
        succeeds(place, &printed);
        if let Err(error) = fits(&shown, &printed.text()) {
            panic!("{place}: {command}: {error}");
        }
    }
}

/// The commands of a session, each with what is shown below it.
fn commands(session: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut goes_on = false;
    for line in session.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push((command.to_owned(), String::new()));
        } else {
            let (command, shown) = found.last_mut().expect("a session begins with a command");
            let text = if goes_on { command } else { shown };
            text.push('\n');
            text.push_str(line);
            goes_on &= line.ends_with('\\');
            continue;
        }
        goes_on = line.ends_with('\\');
    }
    found
}

/// Runs a program, or has homing read settings.
async fn program(scene: &Scene, block: &Block) -> Printed {
    let (name, program, arguments): (_, _, &[&str]) = match block.language.as_str() {
        "python" => ("block.py", clients().join("venv/bin/python"), &[]),
        "js" => ("block.js", "/usr/bin/node".into(), &[]),
        "go" => ("block.go", clients().join("venv/bin/go"), &["run"]),
        "java" => ("Publish.java", "/usr/bin/java".into(), &[]),
        _ => ("block.toml", env!("CARGO_BIN_EXE_homing").into(), &["run", "--check", "--config"]),
    };
    fs::write(scene.work().join(name), scene.here(&block.text)).expect("it can be written");
    scene.program(&program, &[arguments, &[name][..]].concat()).await
}

#[test]
fn a_session_is_taken_apart() {
    let session = "$ a\nb\n$ c \\\n    d\ne\n";
    let expected = [("a", "\nb"), ("c \\\n    d", "\ne")];
    let expected = expected.map(|(command, shown)| (command.to_owned(), shown.to_owned()));
    assert_eq!(commands(session), expected);
}
