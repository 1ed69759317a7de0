//! Clients that are generated from the description of the API, for Python and TypeScript, are built and
//! used against a running homing. docs/api.md has the commands.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio};

use serde_json::json;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use super::{Running, start_with};
use crate::support::{
    PATIENCE, clients,
    receiver::{Receiver, Reply},
};

const TOKEN: &str = "a-token-for-generated-clients";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Runs a program to its end; its output.
async fn run(program: impl AsRef<Path>, arguments: &[&str], folder: &TempDir) -> String {
    let program = program.as_ref();
    let ended = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .env("PYTHONPATH", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE * 2, ended).await.expect("in time").expect("it runs");
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?}: {text}{errors}", program.display());
    text.into_owned()
}

/// A homing, and an endpoint that fails.
async fn scene() -> (Running, Receiver) {
    let running = start_with(&format!("api.tokens = [\"{TOKEN}\"]\n")).await;
    let receiver = Receiver::answering(|_| Reply::status(503)).await;
    (running, receiver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_for_python_is_generated_and_used() {
    let (running, receiver) = Box::pin(scene()).await;
    let worker = running.installation.start();
    let folder = TempDir::new().expect("a folder can be made");
    // Its formatter of code is not needed.
    fs::write(folder.path().join("config.yml"), "post_hooks: []\n").expect("the folder is ours");
    let (bin, document) =
        (clients().join("venv/bin"), format!("{}/openapi.json", running.base_url));
    let generate = ["generate", "--url", &document, "--meta", "none", "--fail-on-warning"];
    let into = ["--output-path", "homing_client", "--config", "config.yml"];
    run(bin.join("openapi-python-client"), &[&generate[..], &into].concat(), &folder).await;
    let (script, url) = (format!("{FOLDER}/generated.py"), receiver.url("/python"));
    let used = run(bin.join("python"), &[&script, &running.base_url, TOKEN, &url], &folder).await;
    assert_eq!(used, "done\n");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_for_typescript_is_generated_type_checked_and_used() {
    let (running, receiver) = Box::pin(scene()).await;
    let worker = running.installation.start();
    let folder = TempDir::new().expect("a folder can be made");
    let modules = clients().join("node_modules");
    symlink(&modules, folder.path().join("node_modules")).expect("the folder is ours");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("the folder is ours");
    };
    write("package.json", "{\"type\": \"module\"}");
    let options = json!({
        "strict": true, "noUncheckedIndexedAccess": true, "types": [],
        "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2022", "dom"],
    });
    let project = json!({"compilerOptions": options, "files": ["generated.ts"]});
    write("tsconfig.json", &project.to_string());
    write("generated.ts", include_str!("../../clients/generated.ts"));
    let (bin, document) = (modules.join(".bin"), format!("{}/openapi.json", running.base_url));
    run(bin.join("openapi-typescript"), &[&document, "--output", "schema.d.ts"], &folder).await;
    run(bin.join("tsc"), &["--project", "."], &folder).await;
    let url = receiver.url("/typescript");
    let arguments = ["generated.js", &running.base_url, TOKEN, &url];
    let used = run("node", &arguments, &folder).await;
    assert_eq!(used, "done\n");
    worker.stop().await;
}
