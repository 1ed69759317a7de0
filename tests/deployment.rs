//! `docker-compose.yml` and `Dockerfile` agree with homing and with each other, as far as that shows
//! without an engine: every setting exists and every value loads, because homing itself reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde::Deserialize;
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    build: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    healthcheck: Option<serde_json::Value>,
    restart: String,
    deploy: Deploy,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct Deploy {
    replicas: Option<u8>,
    resources: Resources,
}

#[derive(Deserialize)]
struct Resources {
    limits: Limits,
}

#[derive(Deserialize)]
struct Limits {
    cpus: String,
    memory: String,
    pids: u32,
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(name)).expect("the file can be read")
}

fn compose(name: &str) -> Compose {
    serde_saphyr::from_str(&read(name)).expect("the file is YAML of the expected shape")
}

/// The output of `make .env`.
fn secrets() -> BTreeMap<String, String> {
    let folder = TempDir::new().expect("a folder can be made");
    let made = Command::new("make")
        .arg("-C")
        .arg(folder.path())
        .args(["-f", &format!("{REPOSITORY}/Makefile"), ".env"])
        .output()
        .expect("make can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(folder.path().join(".env")).expect("it is made");
    let pairs = text.lines().map(|line| line.split_once('=').expect("name=value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// `text` with every `${NAME:?…}` replaced, as Docker Compose does it; other forms have defaults.
fn interpolated(text: &str, secrets: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, behind) = after.split_once('}').expect("every ${ is closed");
        let (name, _hint) = inside.split_once(":?").expect("nothing secret has a default");
        result.push_str(before);
        result.push_str(secrets.get(name).expect("`make .env` makes every variable"));
        rest = behind;
    }
    result + rest
}

fn of_homing(compose: &Compose) -> impl Iterator<Item = (&String, &Service)> {
    compose.services.iter().filter(|(_, service)| service.build.is_some())
}

/// Goal: what Docker Compose would start, starts. Method: the command of each service, in its
/// environment, with `--check`.
#[test]
fn homing_accepts_the_settings_of_every_service() {
    let (compose, secrets) = (compose("docker-compose.yml"), secrets());
    let folder = TempDir::new().expect("a folder can be made");
    let mut checked = BTreeSet::new();
    for (name, service) in of_homing(&compose) {
        let environment: BTreeMap<_, _> = service
            .environment
            .iter()
            .map(|(key, value)| (key, interpolated(value, &secrets)))
            .collect();
        assert!(environment.keys().all(|key| key.starts_with("HOMING__")), "{name}");
        let check = |environment: &BTreeMap<&String, String>| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
            command.args(&service.command).arg("--check").current_dir(folder.path());
            command.env_clear().envs(environment).output().expect("the program can be run")
        };

        let output = check(&environment);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {errors}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(
            shown.contains("store.url = \"postgres://homing:****@postgres/homing\""),
            "{shown}"
        );
        assert_eq!(shown.matches("amqp://homing:****@rabbitmq-").count(), 3, "{shown}");
        assert!(secrets.values().all(|secret| !shown.contains(secret)), "{shown}");

        let misspelt = "HOMING__STORE__URRL".to_owned();
        let mut environment = environment;
        environment.insert(&misspelt, String::new());
        assert!(
            !check(&environment).status.success(),
            "a key that homing does not know is refused"
        );
        checked.insert(name.as_str());
    }
    assert_eq!(checked, BTreeSet::from(["api", "worker"]));
}

#[test]
fn every_service_waits_for_what_it_needs_and_comes_back() {
    let compose = compose("docker-compose.yml");
    for (name, service) in &compose.services {
        assert_eq!(service.restart, "unless-stopped", "{name}");
        // That of homing is in its image.
        assert!(service.healthcheck.is_some() || service.build.is_some(), "{name}");
        for volume in &service.volumes {
            let (source, _) = volume.split_once(':').expect("source:target");
            let there = match source.strip_prefix("./") {
                Some(file) => Path::new(REPOSITORY).join(file).is_file(),
                None => compose.volumes.contains_key(source),
            };
            assert!(there, "{name}: {volume}");
        }
        assert!(service.ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
    for (name, service) in of_homing(&compose) {
        let awaited: Vec<_> = service.depends_on.keys().map(String::as_str).collect();
        assert_eq!(awaited, ["postgres", "rabbitmq-1", "rabbitmq-2", "rabbitmq-3"], "{name}");
        let healthy = |dependency: &Dependency| dependency.condition == "service_healthy";
        assert!(service.depends_on.values().all(healthy), "{name}");
    }
    let workers = compose.services.get("worker").and_then(|worker| worker.deploy.replicas);
    assert_eq!(workers, Some(2));
}

/// Goal: no service takes the machine from the others, and what starts tomorrow is what starts today.
#[test]
fn every_service_has_limits_and_an_exact_image() {
    let compose = compose("docker-compose.yml");
    let mut mebibytes = 0;
    for (name, service) in &compose.services {
        let Limits { cpus, memory, pids } = &service.deploy.resources.limits;
        assert!(cpus.parse::<f32>().is_ok_and(|cpus| cpus > 0.0) && *pids > 0, "{name}");
        let (number, unit) = memory.split_at(memory.len() - 1);
        let number: u32 = number.parse().expect("a number");
        let each = if unit == "G" { number * 1_024 } else { number };
        mebibytes += each * u32::from(service.deploy.replicas.unwrap_or(1));
        let version = service.image.split_once(':').map(|(_, version)| version);
        let is_exact = version.is_some_and(|version| version.contains('.'));
        assert!(is_exact || service.build.is_some(), "{name}: {}", service.image);
    }
    assert_eq!(mebibytes, 7_936, "the head of the file says 8 GiB");
    let node = &compose.services.get("rabbitmq-1").expect("the node is there").deploy.resources;
    assert_eq!(node.limits.memory, "2G");
    assert!(read("rabbitmq/cluster.conf").contains("total_memory_available_override_value = 2GB"));
}

/// Goal: the image has the program that `make release` builds. Method: as no engine runs here, its
/// build runs the same command of Cargo.
#[test]
fn the_image_is_built_as_make_builds() {
    let makefile = read("Makefile");
    let rule = makefile.split("\nrelease:").nth(1).expect("the rule is there");
    let built = rule.lines().nth(1).expect("a command").trim();
    assert!(built.starts_with("cargo build --profile "), "{built}");
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("&& {built} --bin homing ")), "{built}");
    assert!(dockerfile.contains("cp target/dist/homing /usr/local/bin/homing"));
    assert!(read("deploy/package").contains(&format!("{built} --bin homing")), "{built}");
}

/// Goal: the servers know homing by the passwords that it says.
#[test]
fn no_password_has_a_default_and_both_sides_have_the_same() {
    let (compose, secrets) = (compose("docker-compose.yml"), secrets());
    let text = read("docker-compose.yml");
    assert!(!text.contains("guest"));
    assert!(secrets.values().all(|secret| secret.len() >= 40));
    let value = |service: &str, key: &str| {
        let service = compose.services.get(service).expect("the service is there");
        interpolated(service.environment.get(key).expect("the variable is there"), &secrets)
    };
    let store = value("worker", "HOMING__STORE__URL");
    assert!(store.contains(&value("postgres", "POSTGRES_PASSWORD")));
    for node in ["rabbitmq-1", "rabbitmq-2", "rabbitmq-3"] {
        let url = format!("amqp://homing:{}@{node}", value(node, "RABBITMQ_DEFAULT_PASS"));
        assert!(value("worker", "HOMING__BROKER__URL").contains(&url));
        assert!(read("rabbitmq/cluster.conf").contains(&format!("rabbit@{node}")));
        let image = &compose.services.get(node).expect("the node is there").image;
        assert!(image.starts_with("rabbitmq:4."), "{image}");
    }
}

#[test]
fn the_broker_for_development_is_that_of_the_pool() {
    let development: serde_json::Value =
        serde_saphyr::from_str(&read("rabbitmq/docker-compose.yml")).expect("the file is YAML");
    let broker = &development["services"]["rabbitmq"];
    assert!(broker["healthcheck"].is_object(), "{broker}");
    let pool = compose("docker-compose.yml");
    let node = pool.services.get("rabbitmq-1").expect("the node is there");
    assert_eq!(broker["image"], node.image.as_str());
}

#[test]
fn the_image_builds_what_is_there_and_runs_without_privileges() {
    let dockerfile = read("Dockerfile");
    let ignored = read(".dockerignore");
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let mut words: Vec<_> = line.split_whitespace().collect();
        words.pop();
        if words.first().is_some_and(|word| word.starts_with("--from=")) {
            continue;
        }
        for source in words {
            assert!(Path::new(REPOSITORY).join(source).exists(), "{source}");
            assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source}");
        }
    }
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-slim")), "{version}");
    assert!(dockerfile.lines().any(|line| line == "USER homing"));
    assert!(dockerfile.lines().any(|line| line.starts_with("HEALTHCHECK ")));
}

/// Goal: the image builds. Method: in a folder that has what is copied into it, Cargo finds all that
/// the manifests name.
#[test]
fn nothing_that_the_manifests_name_is_missing_in_the_image() {
    let folder = TempDir::new().expect("a folder can be made");
    for line in read("Dockerfile").lines().filter_map(|line| line.strip_prefix("COPY ")) {
        for part in line.split_whitespace().filter(|part| !part.starts_with(['-', '.', '/'])) {
            let source = Path::new(REPOSITORY).join(part);
            let copied = Command::new("cp").arg("-r").arg(source).arg(folder.path()).status();
            assert!(copied.expect("cp can be run").success(), "{part}");
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--offline", "--locked"]);
    let found = cargo.current_dir(folder.path()).output().expect("it can be run");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    assert!(folder.path().join("src/main.rs").is_file());
}
