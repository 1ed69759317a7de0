//! The chart in `deploy/helm` renders what Kubernetes and KEDA accept, and homing accepts what it
//! renders: the real Helm, the published schemas, and homing itself with the settings of each
//! container.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// The oldest version that the chart allows, and the newest whose schemas are there.
const KUBERNETES: [&str; 2] = ["1.25.0", "1.37.0"];

/// The values that an operator has to give.
const SECRETS: [&str; 4] = [
    "secrets.brokerUrl=amqps://homing:0123456789@rabbitmq.events.svc",
    "secrets.storeUrl=postgres://homing:0123456789@postgres.events.svc/homing",
    "secrets.encryptionKeys=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "secrets.apiToken=0123456789abcdef0123",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make test` put Helm and the schemas.
#[expect(clippy::disallowed_methods, reason = "this is how `make test` names the folder")]
fn clients() -> PathBuf {
    let folder = env::var("HOMING_TEST_CLIENTS");
    folder.expect("HOMING_TEST_CLIENTS is not set: run `make test`, which fetches Helm").into()
}

fn helm(arguments: &[&str], values: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder can be made");
    let mut command = Command::new(clients().join("helm"));
    command.args(arguments).env_clear().env("HOME", folder.path());
    for value in values {
        command.args(["--set", value]);
    }
    command.current_dir(repository()).output().expect("helm can be run")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// The chart with the secrets and these values, as text.
fn rendered(values: &[&str]) -> String {
    let arguments = ["template", "shop", "deploy/helm/homing", "--namespace", "events"];
    let output = helm(&arguments, &[&SECRETS, values].concat());
    assert!(output.status.success(), "{}", text(output.stderr));
    text(output.stdout)
}

fn objects(manifests: &str) -> Vec<Value> {
    let parts = manifests.split("---\n").filter(|part| part.contains("kind:"));
    parts.map(|part| serde_saphyr::from_str(part).expect("an object in YAML")).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Runs a program that reads `input`; its output, if it succeeded.
fn run(mut command: Command, input: &str) -> String {
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("manifests.yaml");
    fs::write(&file, input).expect("it can be written");
    command.arg(&file).stdin(Stdio::null());
    let output = command.output().expect("the program can be run");
    let said = text([output.stdout, output.stderr].concat());
    assert!(output.status.success(), "{said}\n{input}");
    said
}

/// Checks each object by the schemas of its kind: those of Kubernetes, and those of KEDA.
fn validate(manifests: &str) {
    let is_kedas = |part: &&str| part.contains("apiVersion: keda.sh/");
    let (kedas, own): (Vec<_>, Vec<_>) = manifests.split("---\n").partition(is_kedas);
    for version in KUBERNETES {
        let mut validate = Command::new(clients().join("venv/bin/kubernetes-validate"));
        validate.args(["--strict", "--kubernetes-version", version]);
        run(validate, &own.join("---\n"));
    }
    for object in kedas.iter().flat_map(|part| objects(part)) {
        let mut node = Command::new("node");
        node.args(["-e", KEDA]).arg(clients());
        run(node, &object.to_string());
    }
}

/// Validates an object: its arguments are the folder of the clients, and the file of the object.
const KEDA: &str = r#"
const [, folder, file] = process.argv;
const object = JSON.parse(require("fs").readFileSync(file));
import(`${folder}/node_modules/@kubernetes-models/keda/keda.sh/v1alpha1/index.js`).then((models) =>
  new models[object.kind](object).validate());
"#;

#[test]
fn the_chart_renders_what_kubernetes_and_keda_accept() {
    let linted = helm(&["lint", "--strict", "deploy/helm/homing"], &SECRETS);
    assert!(linted.status.success(), "{}", text([linted.stdout, linted.stderr].concat()));
    validate(&rendered(&[]));
    validate(&rendered(&["autoscaling.type=keda", "secrets.existing=mine"]));
    validate(&rendered(&[
        "autoscaling.type=hpa",
        "source.enabled=true",
        "ingress.enabled=true",
        "ingress.className=nginx",
        "ingress.tlsSecret=tls",
        "serviceAccount.name=other",
        "worker.nodeSelector.disk=ssd",
        "image.pullSecrets[0].name=registry",
    ]));
}

/// Goal: the schemas can refuse. Method: a misspelt field in either kind of object.
#[test]
#[should_panic(expected = "replicaz")]
fn a_field_that_kubernetes_does_not_know_is_refused() {
    validate(&rendered(&[]).replace("replicas:", "replicaz:"));
}

#[test]
#[should_panic(expected = "maxReplicaCount")]
fn a_value_that_keda_does_not_know_is_refused() {
    let scaled = rendered(&["autoscaling.type=keda"]);
    validate(&scaled.replace("maxReplicaCount: 10", "maxReplicaCount: many"));
}

/// The environment of a container, with what Kubernetes puts in from the Secret.
fn environment(container: &Value, objects: &[Value], settings: &str) -> BTreeMap<String, String> {
    let secret = *of_kind(objects, "Secret").first().expect("there is one");
    let variables = container["env"].as_array().expect("there are some").iter();
    let value = |variable: &Value| {
        let key = variable.pointer("/valueFrom/secretKeyRef/key").and_then(Value::as_str);
        let stored = |key| secret.pointer(&format!("/stringData/{key}")).expect("it is there");
        let value = key.map_or(variable.get("value").unwrap_or(&Value::Null), stored);
        match variable.get("name").and_then(Value::as_str).expect("a name") {
            "HOMING_CONFIG" => ("HOMING_CONFIG".to_owned(), settings.to_owned()),
            name => (name.to_owned(), value.as_str().expect("a value").to_owned()),
        }
    };
    variables.map(value).collect()
}

/// Goal: what Kubernetes would start, starts. Method: the command of each container, with its
/// settings and its environment, and `--check`.
#[test]
fn homing_accepts_the_settings_of_every_container() {
    let objects = objects(&rendered(&["source.enabled=true", "worker.drainGraceSeconds=25"]));
    let folder = TempDir::new().expect("a folder can be made");
    let settings = folder.path().join("homing.toml");
    let map = &of_kind(&objects, "ConfigMap")[0]["data"]["homing.toml"];
    fs::write(&settings, map.as_str().expect("a text")).expect("it can be written");
    let settings = settings.to_str().expect("a path of ASCII");
    let deployments = of_kind(&objects, "Deployment");
    assert_eq!(deployments.len(), 3);
    for deployment in deployments {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let arguments = container["args"].as_array().expect("a list").iter();
        let checked = Command::new(env!("CARGO_BIN_EXE_homing"))
            .args(arguments.map(|argument| argument.as_str().expect("a word")))
            .arg("--check")
            .current_dir(folder.path())
            .env_clear()
            .envs(environment(container, &objects, settings))
            .output()
            .expect("the program can be run");
        assert!(checked.status.success(), "{deployment}: {}", text(checked.stderr));
        let shown = text(checked.stdout);
        for line in [
            "api.listen = \"0.0.0.0:8080\"",
            "broker.url = \"amqps://homing:****@rabbitmq.events.svc\"",
            "store.url = \"postgres://homing:****@postgres.events.svc/homing\"",
            "log.format = \"json\"",
            "worker.drain_grace = \"25s\"",
        ] {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(grace >= if deployment["metadata"]["name"] == "shop-homing-api" { 30 } else { 45 });
    }
}

#[test]
fn pods_have_no_privileges_and_are_probed_where_homing_answers() {
    let objects = objects(&rendered(&["source.enabled=true"]));
    for deployment in of_kind(&objects, "Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert!(container["resources"]["limits"]["memory"].is_string());
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = &container[probe]["httpGet"]["path"];
            let is_there = ["/healthz", "/readyz"].iter().any(|there| path == there);
            assert!(is_there, "{deployment}: {probe}");
        }
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
        let image = container["image"].as_str().expect("a name");
        assert_eq!(image, concat!("homing:", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(of_kind(&objects, "PodDisruptionBudget").len(), 3);
}

#[test]
fn a_scaled_deployment_has_no_number_of_its_own() {
    let replicas = |kind: &str| {
        let objects = objects(&rendered(&[&format!("autoscaling.type={kind}")]));
        let deployments = of_kind(&objects, "Deployment").into_iter();
        let mut workers =
            deployments.filter(|deployment| deployment["metadata"]["name"] == "shop-homing-worker");
        workers.next().expect("there is one")["spec"]["replicas"].as_u64()
    };
    assert_eq!([replicas("none"), replicas("keda"), replicas("hpa")], [Some(2), None, None]);
}

#[test]
fn values_that_are_missing_or_wrong_are_named() {
    let arguments = ["template", "shop", "deploy/helm/homing"];
    for (values, named) in [
        (&[][..], "secrets.brokerUrl is missing"),
        (&["secrets.existing=mine", "autoscaling.type=vpa"][..], "autoscaling"),
        (&["secrets.existing=mine", "secrets.storeUrl=sqlite:homing.db"][..], "storeUrl"),
        (&["secrets.existing=mine", "colour=red"][..], "colour"),
    ] {
        let output = helm(&arguments, values);
        let said = text(output.stderr);
        assert!(!output.status.success() && said.contains(named), "{values:?}: {said}");
    }
}
