//! The description of the API is true: a client that is generated from it, and that asks for
//! everything that the description allows and much that it does not, gets no 5xx and no answer that
//! is not described.

use std::{path::PathBuf, process::Stdio};

use reqwest::Method;
use tokio::{process::Command, time::timeout};

use super::{Answer, start_with};
use crate::support::{PATIENCE, clients};

const TOKEN: &str = "a-token-for-schemathesis";

/// Not checked: whether all that the schemas allow is accepted and all that they do not is refused
/// (what a URL, a filter or a schedule has to be is in no schema), and what is only guessed; nor
/// how wrong tokens are answered, of which so many are slowed down.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      unsupported_method,allow_header_conformance,use_after_free";

#[tokio::test]
async fn what_the_description_guards_needs_a_token() {
    let running = start_with(&format!("api.tokens = [\"{TOKEN}\"]\n")).await;
    let request = running.client.get(format!("{}/openapi.json", running.base_url));
    let document = Answer::of(request.send().await.expect("an answer")).await.body;
    let paths = document["paths"].as_object().expect("paths");
    let mut guarded = 0;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let request = running.request(method.clone(), path).send().await;
            let status = request.expect("an answer").status().as_u16();
            let is_guarded = operation["security"].is_array();
            assert_eq!(status == 401, is_guarded, "{method} {path}: {status}");
            guarded += usize::from(is_guarded);
        }
    }
    assert!(guarded > 20, "{guarded}");
}

#[tokio::test]
async fn a_generated_client_gets_no_5xx_and_no_answer_that_is_not_described() {
    let settings = format!("api.tokens = [\"{TOKEN}\"]\nendpoint.allow_networks = []\n");
    let running = start_with(&settings).await;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program: PathBuf = clients().join("venv/bin/schemathesis");
    let ended = Command::new(program)
        .args(["run", &format!("{}/openapi.json", running.base_url)])
        .args(["--checks", CHECKS, "--seed", "1", "--max-time", "40", "--workers", "1"])
        .args(["--max-examples", "30", "--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--suppress-health-check", "all", "--request-timeout", "35", "--no-color"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE * 2, ended).await.expect("in time").expect("it runs");
    let reported = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let summary = reported.lines().skip_while(|line| !line.contains("SUMMARY"));
    println!("{}", summary.collect::<Vec<_>>().join("\n"));
    assert!(output.status.success(), "{reported}\n{errors}");
}
