//! Text of others in the answers of every command that shows it: no terminal obeys it, and no line
//! of it passes for one of homing's.

use std::{io::Read, process::Command};

use super::{Answer, Home};
use crate::support::{
    broker::{Publisher, Raw},
    eventually, holds,
    receiver::{Receiver, Reply},
};

/// Marks that turn the direction of text or are not seen; ids and topics may have them.
const MARKS: &str = "\u{202e}\u{2067}\u{200f}\u{200b}\u{feff}\u{2028}\u{ad}\u{e0041}";
const FORGED: &str = "homing: everything is well";

/// Every control character but NUL, which no description has, and lines like ours.
fn hostile() -> String {
    let controls = (1..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
    let controls: String = controls.collect();
    let title = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m";
    format!("a{controls}{MARKS}{title}\n{FORGED}\r{FORGED}\r\n{FORGED}")
}

#[track_caller]
fn assert_visible(what: &str, text: &str) {
    let obeyed = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || MARKS.contains(c);
    assert!(!text.contains(obeyed), "{what}: {text:?}");
    assert!(!text.lines().any(|line| line.starts_with(FORGED)), "{what}: {text}");
}

impl Home {
    /// The output of a command, all of it visible.
    #[track_caller]
    fn visible(&self, arguments: &[&str]) -> Answer {
        let answer = self.run(arguments);
        let what = arguments.join(" ");
        assert_visible(&what, &answer.stdout);
        assert_visible(&what, &answer.stderr);
        answer
    }
}

/// Goal: no one else controls an operator's terminal. Method: every control character there is, in a body,
/// a description, an answer, a content type and an id that is not one; marks in ids and topics; each
/// command that shows them, in both forms, and the log of the process that delivers them.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_others_wrote_is_obeyed_by_a_terminal() {
    let home = Home::new();
    let said: &'static str = Box::leak(hostile().into_boxed_str());
    let receiver = Receiver::answering(move |_| Reply::status(500).saying(said)).await;
    let url = receiver.url("/");
    let add = ["subscriptions", "create", "--url", &url, "--topic", "#", "--description", said];
    let made = home.visible(&[&add[..], &["--json"]].concat()).json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["description"], said);

    let child = home.command(&["run"]).spawn().unwrap();
    let (event, topic) = (format!("e{MARKS}"), format!("t{MARKS}.paid"));
    home.run(&["topology", "apply"]).done();
    let publisher = Publisher::new(&home.corner).await;
    let raw = Raw { content_type: Some(said.to_owned()), ..Raw::new(&topic, &event, said) };
    publisher.publish(raw).await;
    publisher.publish(Raw::new(said, said, said)).await;
    let parked = async || holds(home.parked() == 2, format!("{} are parked, not 2", home.parked()));
    eventually(parked).await;
    let log = end(child);
    assert!(log.contains("delivery.attempted") && log.contains("event.unreadable"), "{log}");
    assert_visible("run", &log);

    for command in [
        &["parked", "list"][..],
        &["parked", "get", &event],
        &["parked", "get", said],
        &["parked", "replay", "--event", &event, "--dry-run"],
        &["attempts"],
        &["deliveries", "--attempts"],
        &["events"],
        &["attempts", "--event", &event],
        &["explain", &event],
        &["subscriptions", "list"],
        &["subscriptions", "get", id],
        &["subscriptions", "test", id],
        &["endpoints", "list"],
        &["endpoints", "get", &url],
        &["status"],
    ] {
        let shown = home.visible(command);
        assert_ne!(shown.code, 2, "{command:?}: {}", shown.stderr);
        home.visible(&[command, &["--json"]].concat());
    }
    let unknown = format!("x{said}");
    for wrong in [
        &["parked", "get", &unknown][..],
        &["explain", said],
        &["explain", "unknown", "--topic", said],
        &["subscriptions", "test", id, "--topic", said],
        &["subscriptions", "update", id, "--header", said],
        &["endpoints", "get", said],
        &["source", "get", said],
        &["tokens", "delete", said],
        &["--config", said, "status"],
        &["--set", said, "status"],
        &["--broker", said, "parked", "list"],
        &[said],
    ] {
        assert_ne!(home.visible(wrong).code, 0, "{wrong:?}");
    }
    let line = serde_json::json!({"topic": "t", "id": said, "data": said}).to_string();
    let input = format!("{line}\n{said}\n");
    for publish in [&["publish"][..], &["publish", "--topic", said]] {
        let answer = home.run_with(publish, input.as_bytes());
        assert_visible("publish", &answer.stderr);
        assert_eq!(answer.code, 1, "{}", answer.stderr);
    }
}

/// Goal: what was published can be had as it is, byte for byte, where that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_parked_body_are_shown_as_they_are_where_that_is_asked_for() {
    const BODY: &str = "{\"b\": 1.50,\n \"a\": 1e400, \"a\": \"\u{9b}\"}";
    let home = Home::new();
    let reason = homing_domain::verdict::ParkReason::Exhausted;
    home.park(&[("e1", BODY, None, reason), ("e2", "{\"n\": 2}", None, reason)]).await;

    assert_eq!(home.run(&["parked", "get", "e1", "--raw"]).done(), BODY);
    let shown = home.run(&["parked", "get", "e1"]).done();
    let quoted = "\n  {\"b\": 1.50,\n   \"a\": 1e400, \"a\": \"\\u{9b}\"}\n";
    assert!(shown.ends_with(quoted), "{shown}");
    let shown = home.run(&["parked", "get", "e1", "--json"]).done();
    let data = "\"data\": {\"b\": 1.50,\n \"a\": 1e400, \"a\": \"\\u009b\"}";
    assert!(shown.contains(data), "{shown}");
    let shown = home.run(&["parked", "get", "e2", "--json"]).json();
    assert_eq!((&shown[0]["body"], &shown[0]["data"]["n"]), (&"{\"n\": 2}".into(), &2.into()));
    assert_eq!(shown[0]["body_bytes"], 8);
}

/// Ends a process politely; all that it said.
fn end(mut child: std::process::Child) -> String {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    let mut log = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut log).expect("the program writes UTF-8");
    child.wait().expect("the program ends");
    log
}
