//! Commands over the API of a running homing, which need no broker, no store and no key.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Home};
use crate::support::{eventually, holds, receiver::Receiver};

/// A machine that has nothing but the program.
struct Elsewhere {
    folder: TempDir,
    api: String,
}

impl Elsewhere {
    fn new(api: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        Self { folder, api: api.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command.env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Answer {
        let given = [&["--api", &self.api], arguments].concat();
        self.command(&given).output().expect("the program starts").into()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("the folder is ours");
        fs::write(&file, text).expect("the folder is ours");
        file.display().to_string()
    }
}

/// Without what differs from one look to the next.
fn settled(mut document: Value) -> Value {
    if let Some(fields) = document.as_object_mut() {
        for name in ["since", "until", "at", "minutes", "rates", "workers", "queues"] {
            fields.remove(name);
        }
        for name in ["broker", "store"] {
            if let Some(Value::Object(health)) = fields.get_mut(name) {
                health.remove("location");
            }
        }
    }
    document
}

/// Goal: one form for both doors. Method: each command is run here and over the API, and both
/// documents are compared.
// Receivers answer while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_over_the_api_answers_as_it_does_here() {
    let home = Home::new();
    let (receiver, failing) = (Receiver::accepting().await, Receiver::failing().await);
    let (_running, url) = home.serve(&[]).await;
    let there = Elsewhere::new(&url);
    let mut ids = Vec::new();
    for (to, topic) in [(receiver.url("/hook"), "order.#"), (failing.url("/bad"), "refund.#")] {
        let create = ["subscriptions", "create", "--url", &to, "--topic", topic, "--json"];
        let made = there.run(&create).json();
        assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let lines = "{\"topic\":\"order.paid\",\"id\":\"o-7\",\"data\":{\"total\":12.50}}\n\
                 {\"topic\":\"refund.done\",\"id\":\"r-1\",\"data\":1}\n\
                 {\"topic\":\"orders.paid\",\"data\":1}\n";
    let file = there.write("events.jsonl", lines);
    let published = there.run(&["publish", "--json", &file]);
    assert!(published.stderr.contains("no subscription wants 1 event"), "{}", published.stderr);
    let published = published.json();
    assert_eq!((&published["published"], &published["wanted"]), (&json!(3), &json!(2)));
    eventually(async || {
        let parked = there.run(&["parked", "list", "--json"]).json();
        holds(parked["total"] == 1, parked)
    })
    .await;
    assert_eq!(receiver.requests()[0].body, "{\"total\":12.50}");

    let bad = failing.url("/bad");
    let commands: Vec<Vec<&str>> = vec![
        vec!["subscriptions", "list"],
        vec!["subscriptions", "get", &ids[0]],
        vec!["subscriptions", "export"],
        vec!["endpoints", "list"],
        vec!["endpoints", "get", &bad, "--parked"],
        vec!["deliveries"],
        vec!["deliveries", "--state", "parked", "--url", &bad],
        vec!["events"],
        vec!["events", "--state", "parked", "--url", &bad],
        vec!["attempts", "--outcome", "failed"],
        vec!["attempts", "--event", "o-7", "--status", "200"],
        vec!["explain", "o-7", "--payload"],
        vec!["explain", "r-1"],
        vec!["errors"],
        vec!["topics"],
        vec!["topics", "--unwanted"],
        vec!["history", "--url", &bad],
        vec!["history"],
        vec!["audit", "--kind", "subscription"],
        vec!["parked", "list", "--reason", "exhausted"],
        vec!["parked", "get", "r-1"],
        vec!["ledger", "get", &ids[0]],
        vec!["status"],
        vec!["tokens", "list"],
        vec!["source", "list"],
        vec!["replay", "list"],
    ];
    for command in commands {
        let command = [&command[..], &["--json"]].concat();
        // Workers write figures every few seconds.
        eventually(async || {
            let here = settled(home.run(&command).json());
            let over_api = settled(there.run(&command).json());
            holds(here == over_api, format!("{command:?}: {here}\n{over_api}"))
        })
        .await;
    }
    let text = there.run(&["explain", "o-7"]).done();
    assert!(text.contains("order.paid") && text.contains("delivered"), "{text}");
    assert!(!there.folder.path().join("homing.db").exists(), "nothing was done there");
}

/// Publishes an event of which the delivery is parked, and drops it.
async fn drops_what_it_finds(there: &Elsewhere, run: &impl Fn(&[&str]) -> Answer) {
    let event = there.write("event.json", "{\"a\":1}");
    run(&["publish", "--topic", "order.paid", "--id", "o-2", "--single", &event]).done();
    eventually(async || {
        let parked = run(&["parked", "list", "--event", "o-2", "--json"]).json();
        let entries = parked.get("entries").and_then(Value::as_array).map(Vec::len);
        holds(entries == Some(1), parked)
    })
    .await;
    let body = run(&["parked", "get", "o-2", "--raw"]).done();
    assert_eq!(body, "{\"a\":1}");
    let counted = run(&["parked", "replay", "--event", "o-2", "--dry-run"]).done();
    assert!(counted.starts_with("would replay 1 of "), "{counted}");
    let refused = run(&["parked", "drop", "--event", "o-2"]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert!(
        run(&["parked", "drop", "--event", "o-2", "--yes"]).done().starts_with("dropped 1 of ")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_over_the_api_are_on_record_as_made_by_the_token() {
    let home = Home::new();
    let made = home.run(&["tokens", "create", "ci", "--json"]).json();
    let token = made["token"].as_str().unwrap().to_owned();
    let receiver = Receiver::failing().await;
    let (_running, url) = home.serve(&[]).await;
    let there = Elsewhere::new(&url);

    let refused = there.run(&["subscriptions", "list"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("--token-file FILE"), "{}", refused.stderr);
    let wrong = there.write("wrong", "homing_wrong\n");
    let refused = there.run(&["subscriptions", "list", "--token-file", &wrong]);
    assert!(refused.stderr.contains("is none of its tokens"), "{}", refused.stderr);

    there.write(".config/homing/production.token", &format!("{token}\n"));
    let profile = format!("[production]\napi = \"{url}/\"\ntoken_file = \"production.token\"\n");
    there.write(".config/homing/profiles.toml", &profile);
    let run = |arguments: &[&str]| -> Answer {
        let given = [&["--profile", "production"], arguments].concat();
        there.command(&given).output().expect("the program starts").into()
    };
    let to = receiver.url("/hook");
    let id = run(&["subscriptions", "create", "--url", &to, "--topic", "order.#", "--json"]).json();
    let id = id["id"].as_str().unwrap().to_owned();
    let again = run(&["subscriptions", "create", "--url", &to, "--topic", "order.#"]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains(&id), "{}", again.stderr);
    let wrong = run(&["subscriptions", "update", &id, "--rate-limit", "0"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.starts_with("homing: `rate_limit`"), "{}", wrong.stderr);
    assert_eq!(run(&["subscriptions", "update", &id, "--description", "x"]).code, 0);
    let rotated = run(&["subscriptions", "rotate-secret", &id, "--overlap", "1h", "--json"]).json();
    assert!(rotated["secret"].as_str().unwrap().starts_with("whsec_"), "{rotated}");
    let tested = run(&["subscriptions", "test", &id]);
    assert_eq!(tested.code, 1);
    assert!(tested.stdout.contains("refused 500"), "{}", tested.stdout);
    assert_eq!(run(&["endpoints", "disable", &to]).done(), format!("disabled {to}\n"));
    assert!(run(&["endpoints", "probe", &to]).done().contains("nothing to probe"));
    let enabled = run(&["endpoints", "enable", &to]).done();
    let said = "what is held for it is sent; no delivery was parked by its circuit";
    assert_eq!(enabled, format!("enabled {to}\n{said}\n"));
    let near = run(&["endpoints", "disable", &format!("{to}/x")]);
    assert!(near.code == 1 && near.stderr.contains("force"), "{}", near.stderr);

    drops_what_it_finds(&there, &run).await;
    assert_eq!(run(&["subscriptions", "delete", &id]).done(), format!("deleted {id}\n"));
    let gone = run(&["subscriptions", "get", &id]);
    assert!(gone.code == 1 && gone.stderr.contains("there is no subscription"), "{}", gone.stderr);

    let cd = run(&["tokens", "create", "cd", "--scope", "read", "--json"]).json();
    assert_eq!((&cd["name"], &cd["scope"]), (&json!("cd"), &json!("read")), "{cd}");
    let read_only = there.write("cd", cd["token"].as_str().unwrap());
    eventually(async || {
        let listed = there.run(&["subscriptions", "list", "--token-file", &read_only]);
        holds(listed.code == 0, listed.stderr)
    })
    .await;
    let refused = there.run(&["tokens", "list", "--token-file", &read_only]);
    assert!(refused.stderr.contains("this needs scope `write`"), "{}", refused.stderr);
    let again = run(&["tokens", "create", "cd"]);
    assert!(again.code == 1 && again.stderr.contains("there is a token `cd`"), "{again:?}");
    assert!(run(&["tokens", "list"]).done().contains("\ncd  "), "both are listed");
    assert_eq!(run(&["tokens", "delete", "cd", "--yes"]).done(), "deleted cd\n");
    let gone = run(&["tokens", "delete", "cd", "--yes"]);
    assert!(gone.code == 1 && gone.stderr.contains("there is no token `cd`"), "{gone:?}");

    let records = run(&["audit", "--actor", "ci", "--json"]).json();
    let records = records["records"].as_array().unwrap();
    let made: Vec<_> =
        records.iter().map(|it| (it["via"].as_str(), it["action"].as_str())).collect();
    for action in ["created", "updated", "disabled", "enabled", "dropped", "deleted"] {
        assert!(made.contains(&(Some("api"), Some(action))), "{action}: {records:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_the_archive_are_sent_again_over_the_api() {
    let home = Home::new();
    let settings = fs::read_to_string(home.folder.path().join("homing.toml")).unwrap();
    home.write("homing.toml", format!("{settings}[archive]\nenabled = true\n").as_bytes());
    let receiver = Receiver::accepting().await;
    let (_running, url) = home.serve(&[]).await;
    let there = Elsewhere::new(&url);
    let to = receiver.url("/hook");
    there.run(&["subscriptions", "create", "--url", &to, "--topic", "order.#"]).done();
    let event = there.write("event.json", "{\"a\":1}");
    there.run(&["publish", "--topic", "order.paid", "--id", "o-7", "--single", &event]).done();
    receiver.wait_for(1).await;

    let preview = there.run(&["replay", "--event", "o-7", "--dry-run", "--json"]).json();
    assert_eq!(preview["topics"], json!({"order.paid": 1}), "{preview}");
    let done = there.run(&["replay", "--event", "o-7", "--url", &to, "--json"]).json();
    assert_eq!((&done["state"], &done["progress"]["sent"]), (&json!("done"), &json!(1)), "{done}");
    receiver.wait_for(2).await;
    let id = done["id"].as_str().unwrap();
    let listed = there.run(&["replay", "list", "--json"]).json();
    assert_eq!(listed["replays"][0]["id"], id, "{listed}");
    let over = there.run(&["replay", "stop", id]);
    assert!(over.code == 2 && over.stderr.contains("is done"), "{over:?}");
    assert!(there.run(&["replay", "get", id]).done().starts_with(&format!("replay {id}: done")));
}

/// Goal: nothing is ever done here in place of there.
#[tokio::test]
async fn what_the_api_does_not_offer_is_refused_by_name() {
    let there = Elsewhere::new("http://127.0.0.1:1");
    let received = there.write("received.txt", "");
    let id = "01931f5a-9c4e-7000-8000-0123456789ab";
    let commands: Vec<Vec<&str>> = vec![
        vec!["run", "--check"],
        vec!["dev"],
        vec!["parked", "export"],
        vec!["ledger", "compare", id, &received],
        vec!["schedule"],
        vec!["topology", "check"],
        vec!["topology", "apply"],
        vec!["keys", "list"],
        vec!["bench"],
    ];
    for command in commands {
        let answer = there.run(&command);
        assert_eq!(answer.code, 2, "{command:?}: {answer:?}");
        let words: Vec<_> = command
            .iter()
            .take_while(|word| !word.starts_with('-') && **word != id)
            .copied()
            .collect();
        let words = words.join(" ");
        let expected = format!("homing: not over --api yet: `homing {words}`");
        assert!(answer.stderr.starts_with(&expected), "{command:?}: {}", answer.stderr);
    }
    let left: Vec<_> = fs::read_dir(there.folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the file of the test: {left:?}");

    let answer = there.run(&["subscriptions", "list", "--broker", "amqp://127.0.0.1"]);
    assert!(
        answer.code == 2 && answer.stderr.contains("--broker is for work that is done here"),
        "{answer:?}"
    );
    let answer = there.run(&["subscriptions", "list"]);
    assert_eq!(answer.code, 1);
    assert!(answer.stderr.starts_with("homing: http://127.0.0.1:1 does not answer"), "{answer:?}");
    let answer = there.command(&["--profile", "x", "status"]).output().map(Answer::from).unwrap();
    assert!(answer.code == 2 && answer.stderr.contains("profiles.toml"), "{answer:?}");
    // Nor is the token of one installation sent to another.
    let answer = there.run(&["--profile", "x", "status"]);
    assert!(answer.code == 2 && answer.stderr.contains("give one of them"), "{answer:?}");
    // Those of no installation work in any case.
    assert!(there.run(&["config"]).done().contains("[broker]"));
    assert!(there.run(&["completions", "bash"]).done().contains("homing"));
}

#[tokio::test]
async fn an_error_is_json_where_the_answer_is() {
    let there = Elsewhere::new("http://127.0.0.1:1");
    let answer = there.run(&["subscriptions", "list", "--json"]);
    let error: Value = serde_json::from_str(&answer.stderr).expect("one document");
    assert_eq!((answer.code, &error["exit"]), (1, &json!(1)));
    assert!(error["detail"].as_str().unwrap().contains("does not answer"), "{error}");
    let answer = there.run(&["--json", "nonsense"]);
    let error: Value = serde_json::from_str(&answer.stderr).expect("one document");
    assert_eq!((answer.code, &error["exit"]), (2, &json!(2)));
}

#[tokio::test]
async fn the_address_of_the_dashboard_is_printed() {
    let home = Home::new();
    let open =
        home.command(&["open", "--print"]).env("HOMING__API__LISTEN", "0.0.0.0:8123").output();
    assert_eq!(Answer::from(open.unwrap()).done(), "http://127.0.0.1:8123/\n");
    let there = Elsewhere::new("https://homing.example.com/pages");
    assert_eq!(there.run(&["open", "--json"]).json()["url"], "https://homing.example.com/pages");
}
