//! The stage on which blocks of a document are run: a broker, homing with its API, an endpoint, and a
//! folder with the files that the document names.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use tempfile::TempDir;
use tokio::process::Command;

use super::blocks::Block;
use crate::support::{
    PATIENCE,
    authority::Authority,
    broker::Corner,
    clients,
    database::Database,
    eventually,
    installation::millis,
    node::Node,
    process::{Process, Site},
    receiver::{Receiver, Reply},
};

/// The default schedule, by its longest wait and the number of its waits.
const FIRST_WAIT_MS: u64 = 84_800;
const WAITS: u32 = 11;

const ARCHIVE: &str = "archive.enabled = true\narchive.max_bytes = 20000000\n";
const SOURCE: &str = "source.livestream.main.url = \"https://stream.example.com/s\"\n\
                      source.livestream.main.client_id = \"id\"\n\
                      source.livestream.main.client_secret = \"hidden\"\n";

/// Documents whose commands need these settings.
const SETTINGS: [(&str, &str); 2] = [("docs/REPLAY.md", ARCHIVE), ("docs/livestream.md", SOURCE)];

/// Documents that make their events themselves; the others find `o-7`, which failed once.
const WITHOUT_EVENT: [&str; 3] = ["README.md", "docs/publish.md", "docs/quickstart.md"];

/// Documents whose requests show a token.
const WITH_TOKEN: [&str; 1] = ["docs/workfront.md"];

/// The program of `rabbitmqctl` in a document, at a broker of the document's own.
const CTL: &str = "rabbitmqctl ";

/// The output of a block.
pub(super) struct Printed {
    pub succeeded: bool,
    output: String,
    errors: String,
}

impl Printed {
    /// Output and errors.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

/// Fields are dropped in this order: homing ends before its queues are deleted.
pub(super) struct Scene {
    _homing: Process,
    site: Site,
    /// Text of documents, each with its replacement here.
    replacements: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    receiver: Receiver,
    /// The name of this machine.
    machine: String,
    _tools: TempDir,
    database: Option<Database>,
    _node: Option<Node>,
}

impl Scene {
    /// For the blocks of this document.
    pub(super) async fn open(path: &str, blocks: &[Block]) -> Self {
        let says = |text: &str| blocks.iter().any(|block| block.text.contains(text));
        let node = if says(CTL) { Some(Node::start("documents").await) } else { None };
        let database = if says("postgres://") { Some(Database::new().await) } else { None };
        let waits: Vec<_> = (0..WAITS).map(|power| FIRST_WAIT_MS << power).collect();
        let corner = match &node {
            Some(node) => Corner::at(node.url.clone(), &millis(&waits)),
            None => Corner::new(&millis(&waits)),
        };
        let settings = SETTINGS.iter().find(|(document, _)| *document == path);
        let site = Site::at(corner, &waits, settings.map_or("", |(_, settings)| settings));
        let receiver = endpoints().await;
        let tools = tools();
        let work = site.folder.path().join("work");
        furnish(&work, &site);
        let variables = variables(&site, tools.path());
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has a name");
        let mut scene = Self {
            _homing: started(&site, &variables),
            site,
            replacements: Vec::new(),
            variables,
            receiver,
            machine: machine.trim().to_owned(),
            _tools: tools,
            database,
            _node: node,
        };
        scene.prepare(path).await;
        scene
    }

    /// The folder in which blocks are run.
    pub(super) fn work(&self) -> PathBuf {
        self.site.folder.path().join("work")
    }

    /// Makes what documents take for granted: a subscription, and an event.
    async fn prepare(&mut self, path: &str) {
        let (api, prefix) = (self.api().await, &self.site.corner.prefix);
        let endpoint = self.receiver.url("");
        let mut replacements = vec![
            ("http://127.0.0.1:8080".to_owned(), api),
            ("http://127.0.0.1:9000".to_owned(), endpoint.clone()),
            ("https://example.com".to_owned(), endpoint.clone()),
            ("https://a.example".to_owned(), endpoint),
            ("amqp://guest:guest@127.0.0.1:5673".to_owned(), self.site.corner.url.clone()),
            ("homing.v1.".to_owned(), format!("{prefix}.v1.")),
            (r"homing\.v".to_owned(), format!(r"{prefix}\.v")),
        ];
        if let Some(database) = &self.database {
            let store = "postgres://homing@db.example.com/homing".to_owned();
            self.done(&format!("homing --store '{}' subscriptions list", database.url())).await;
            replacements.push((store, database.url()));
        }
        self.replacements = replacements;
        let create = "homing --json subscriptions create --url https://example.com/hook --topic";
        let created = self.done(&format!("{create} order.paid")).await;
        let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
        let id = created.pointer("/id").and_then(|id| id.as_str()).expect("an id");
        for (name, value) in [("ID", id), ("SUBSCRIPTION", id), ("EVENT", "o-7")] {
            self.replacements.push((name.to_owned(), value.to_owned()));
        }
        let url = self.receiver.url("/hook");
        self.replacements.push(("URL".to_owned(), url));
        if WITH_TOKEN.contains(&path) {
            let created = self.done("homing --json tokens create document").await;
            let created: serde_json::Value = serde_json::from_str(&created).expect("JSON");
            let token = created.get("token").and_then(|token| token.as_str()).expect("a token");
            self.replacements.push(("TOKEN".to_owned(), token.to_owned()));
        }
        if !WITHOUT_EVENT.contains(&path) {
            self.done(&format!("{create} order.paid").replace("/hook", "/recovers")).await;
            let event = r#"{"topic": "order.paid", "id": "o-7", "data": {"id": 7}}"#;
            self.done(&format!("echo '{event}' | homing publish")).await;
            self.receiver.wait_for(2).await;
        }
    }

    /// The address of the API, as it is in the log.
    async fn api(&self) -> String {
        let log = self.site.log();
        let listening = |log: &str| {
            let line = log.lines().find(|line| line.contains("api.listening"))?;
            let (_, rest) = line.split_once("127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("http://127.0.0.1:{port}"))
        };
        eventually(async || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            listening(&log).ok_or(log)
        })
        .await
    }

    /// `text` with what is here in place of what documents show.
    pub(super) fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (shown, here) in &self.replacements {
            let is_placeholder = shown.chars().all(|c| c.is_ascii_uppercase());
            text = if is_placeholder {
                with_word_replaced(&text, shown, here)
            } else {
                text.replace(shown.as_str(), here)
            };
        }
        text
    }

    /// Runs a program of the system in the folder.
    pub(super) async fn program(&self, program: &Path, arguments: &[&str]) -> Printed {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.work()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = ended.unwrap_or_else(|_| panic!("{arguments:?} does not end"));
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Printed {
            succeeded: output.status.success(),
            output: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }

    /// Runs commands of a document.
    pub(super) async fn shell(&self, commands: &str) -> Printed {
        let script = format!("set -euo pipefail\n{}", self.here(commands));
        let mut printed = self.program(Path::new("/bin/bash"), &["-c", &script]).await;
        let folder = self.work();
        let shown = |text: &str| {
            let text = text.replace(&*folder.to_string_lossy(), "/home/me/homing");
            let text = text.replace(&self.site.corner.prefix, "homing");
            with_word_replaced(&text, &self.machine, "my-machine")
        };
        printed.output = shown(&printed.output);
        printed.errors = shown(&printed.errors);
        printed
    }

    async fn done(&self, commands: &str) -> String {
        let printed = self.shell(commands).await;
        assert!(printed.succeeded, "{commands}: {}", printed.text());
        printed.output
    }
}

/// The endpoints of `examples/endpoints.py`, at any port.
async fn endpoints() -> Receiver {
    let is_repaired = AtomicBool::new(false);
    Receiver::answering(move |request| match request.path.as_str() {
        "/repair" => {
            is_repaired.store(true, Relaxed);
            Reply::status(204)
        }
        "/gone" if !is_repaired.load(Relaxed) => Reply::status(410),
        "/recovers" if request.header("x-homing-attempt").is_none_or(|it| it < "3") => {
            Reply::status(503).saying("busy")
        }
        "/dead" => Reply::status(500),
        _ => Reply::status(200),
    })
    .await
}

/// A folder of programs: homing, and some that are not run for real.
fn tools() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let repository = env!("CARGO_MANIFEST_DIR");
    let write = |name: &str, script: String| {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    write("homing", format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_homing")));
    // Targets build for minutes, or run until they are stopped: it has to know them.
    write("make", format!("exec /usr/bin/make --dry-run -C {repository} \"$@\""));
    // An answer that is an error ends it.
    write("curl", "exec /usr/bin/curl --silent --show-error --fail-with-body \"$@\"".to_owned());
    write("rabbitmqctl", format!("exec {repository}/rabbitmq/ctl --instance documents \"$@\""));
    folder
}

fn variables(site: &Site, tools: &Path) -> Vec<(String, String)> {
    let folder = site.folder.path();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", tools.display());
    let work = folder.join("work");
    let pairs = [
        ("PATH", path),
        ("HOME", work.display().to_string()),
        ("NODE_PATH", clients().join("node_modules").display().to_string()),
        ("GOTOOLCHAIN", "local".to_owned()),
        ("GOCACHE", clients().join("go-cache").display().to_string()),
        ("HOMING_CONFIG", folder.join("homing.toml").display().to_string()),
        ("HOMING__SCHEDULE__DEFAULT", "workfront".to_owned()),
        ("HOMING__STORE__URL", format!("sqlite:{}", work.join("homing.db").display())),
        ("HOMING__STORE__ENCRYPTION_KEY_FILE", work.join("homing.db.key").display().to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Puts the files into the folder that documents name.
fn furnish(work: &Path, site: &Site) {
    fs::create_dir(work).expect("a folder can be made");
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    std::os::unix::fs::symlink(tests, work.join("tests")).expect("a link can be made");
    let authority = Authority::new("documents");
    let write = |name: &str, text: &str| {
        let file = work.join(name);
        fs::write(&file, text).expect("it can be written");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    };
    for name in ["client", "newer"] {
        let (certificate, key) = authority.issue(name);
        write(&format!("{name}.pem"), &certificate);
        write(&format!("{name}.key"), &key);
    }
    write("login", "me:secret\n");
    write("secret", "secret\n");
    write("homing.db.key", &site.run(&["keys", "generate"]));
}

fn started(site: &Site, variables: &[(String, String)]) -> Process {
    let mut command = site.command(&["run", "--role", "worker", "--role", "api"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    site.spawn(command)
}

/// Replaces `word` where it stands alone.
fn with_word_replaced(text: &str, word: &str, with: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = found.get(word.len()..).unwrap_or_default();
        let alone = !before.ends_with(is_part) && !after.starts_with(is_part);
        result += before;
        result += if alone { with } else { word };
        rest = after;
    }
    result + rest
}

#[test]
fn a_placeholder_is_a_word_of_its_own() {
    assert_eq!(with_word_replaced("get ID; IDS $ID x=ID", "ID", "7"), "get 7; IDS $7 x=7");
}
