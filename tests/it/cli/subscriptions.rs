//! `homing subscriptions`

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use serde_json::Value;

use super::Home;

#[test]
fn subscriptions_are_added_listed_shown_and_removed() {
    let home = Home::new();
    let add =
        ["subscriptions", "create", "--url", "https://example.com/hook", "--topic", "order.*"];
    let filter = r#"{"fieldName":"a","fieldValue":"b","comparison":"eq"}"#;
    let more = ["--filter", filter, "--header", "X-Team: pay", "--auth-token", "geheim-0123"];
    let added = home.run(&[&add[..], &more[..]].concat()).done();
    let id = added.lines().next().unwrap().strip_prefix("created ").unwrap().to_owned();
    assert!(added.lines().nth(1).unwrap().starts_with("secret  whsec_"), "{added}");

    let again = home.run(&[&add[..], &more[..]].concat());
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains(&id), "{}", again.stderr);

    let listed = home.run(&["subscriptions", "list"]).done();
    assert!(listed.contains(&id) && listed.contains("order.*"), "{listed}");
    let json = home.run(&["subs", "list", "--json"]).json();
    assert_eq!(json["subscriptions"][0]["headers"]["x-team"], "****");
    assert_eq!(json["next"], Value::Null);

    let shown = home.run(&["subscriptions", "get", &id]).done();
    assert!(shown.contains("auth token   ****0123") && !shown.contains("geheim"), "{shown}");

    let removed = home.run(&["subscriptions", "delete", &id]).done();
    assert_eq!(removed, format!("deleted {id}\n"));
    let again = home.run(&["subscriptions", "delete", &id]);
    assert_eq!(again.code, 1);
    let expected = format!(
        "homing: there is no subscription {id}; `homing subscriptions list` lists the existing \
         ones\n"
    );
    assert_eq!(again.stderr, expected);
}

#[test]
fn what_is_named_is_changed_and_a_secret_is_rotated_without_a_gap() {
    let home = Home::new();
    let add =
        ["subscriptions", "create", "--url", "https://example.com/hook", "--topic", "order.*"];
    let limits = ["--rate-limit", "5", "--deadline", "30s", "--max-concurrency", "2", "--json"];
    let made = home.run(&[&add[..], &limits].concat()).json();
    let id = made["id"].as_str().unwrap();
    let change = |flags: &[&str]| home.run(&[&["subscriptions", "update", id][..], flags].concat());

    let shown = home.run(&["subscriptions", "get", id]).done();
    assert!(shown.contains("5 requests a second, 2 at a time, 30s for each\n"), "{shown}");
    let answer = change(&["--topic", "refund.#", "--description", "new", "--clear", "rate_limit"]);
    assert_eq!(answer.done(), format!("updated {id}\n"));
    let shown = home.run(&["subscriptions", "get", id, "--json"]).json();
    assert_eq!(shown["topics"], serde_json::json!(["refund.#"]));
    assert_eq!(shown["url"], "https://example.com/hook");
    assert_eq!((&shown["description"], &shown["rate_limit"]), (&"new".into(), &Value::Null));
    assert_eq!((&shown["deadline"], &shown["max_concurrency"]), (&"30s".into(), &2.into()));
    change(&["--clear", "deadline", "--clear", "max_concurrency"]).done();
    let shown = home.run(&["subscriptions", "get", id, "--json"]).json();
    assert_eq!((&shown["deadline"], &shown["max_concurrency"]), (&Value::Null, &Value::Null));

    let rotate =
        |flags: &[&str]| home.run(&[&["subscriptions", "rotate-secret", id][..], flags].concat());
    let rotated = rotate(&[]).done();
    assert!(rotated.lines().nth(1).unwrap().starts_with("secret  whsec_"), "{rotated}");
    let again = rotate(&["--overlap", "7d", "--json"]).json();
    assert_ne!(again["secret"], made["secret"]);
    let secrets = again["secrets"].as_array().unwrap();
    let expire: Vec<_> = secrets.iter().map(|secret| secret["expires"].is_string()).collect();
    assert_eq!(expire, [false, true, true], "the newest signs for ever");
    let shown = home.run(&["subscriptions", "get", id]).done();
    assert!(shown.contains("signed       with one secret and one secret until 2"), "{shown}");
    let changed = change(&["--description", "newer", "--json"]).json();
    assert_eq!(changed["secrets"], again["secrets"]);
    let alone = rotate(&["--overlap", "0s", "--json"]).json();
    assert_eq!(alone["secrets"], serde_json::json!([{"secret": "****"}]));
    assert_eq!(rotate(&["--overlap", "31d"]).code, 2);
    assert_eq!(rotate(&["--overlap", "soon"]).code, 2);

    assert_eq!(change(&[]).code, 2);
    assert_eq!(change(&["--url", "https:///hook"]).code, 2);
}

#[test]
fn a_key_pair_shows_its_public_key_and_credentials_their_user() {
    let home = Home::new();
    home.write("login", b"Aladdin:open sesame\n");
    let add =
        ["subscriptions", "create", "--url", "https://example.com/hook", "--topic", "order.*"];
    let more = ["--basic-file", "login", "--signature-scheme", "v1a"];
    let made = home.run(&[&add[..], &more[..]].concat()).done();
    let key = made.lines().find_map(|line| line.strip_prefix("key     ")).unwrap();
    assert!(key.starts_with("whpk_") && !made.contains("secret"), "{made}");
    let id = made.lines().find_map(|line| line.strip_prefix("created ")).unwrap();
    let shown = home.run(&["subscriptions", "get", id]).done();
    assert!(shown.contains(&format!("signed       with the key pair of {key}")), "{shown}");
    assert!(shown.contains("basic        as `Aladdin`") && !shown.contains("sesame"), "{shown}");
    let update = |flags: &[&str]| home.run(&[&["subscriptions", "update", id], flags].concat());
    assert_eq!(update(&["--basic", "Aladdin"]).code, 2);
    update(&["--clear", "authentication"]).done();
    assert!(!home.run(&["subscriptions", "get", id]).done().contains("Aladdin"));
    let scheme = ["subscriptions", "rotate-secret", id, "--signature-scheme"];
    let rotated = home.run(&[&scheme[..], &["v1"]].concat()).done();
    assert!(rotated.contains("secret  whsec_"), "{rotated}");
    let wrong = home.run(&[&scheme[..], &["v2"]].concat());
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("`v1a` (Ed25519, a key pair)"), "{}", wrong.stderr);
}

#[test]
fn a_client_of_an_authorization_server_is_shown_without_its_secret() {
    let home = Home::new();
    home.write("secret", b"s3cret\n");
    let add = ["subscriptions", "create", "--url", "https://example.com/hook", "--topic", "t"];
    let client =
        ["--oauth2-token-url", "https://auth.example.com/token", "--oauth2-client-id", "c"];
    let secret = ["--oauth2-client-secret-file", "secret"];
    let more =
        ["--oauth2-scope", "a b", "--oauth2-token-endpoint-auth-method", "client_secret_post"];
    let made = home.run(&[&add[..], &client, &secret, &more, &["--json"]].concat()).json();
    let id = made["id"].as_str().unwrap();
    let shown = home.run(&["subscriptions", "get", id]).done();
    assert!(
        shown.contains("oauth2       as `c` of https://auth.example.com/token, scope `a b`"),
        "{shown}"
    );
    let shown = home.run(&["subscriptions", "get", id, "--json"]);
    assert!(shown.json()["authentication"]["oauth2"]["client_secret"] == "****");
    let change = |flags: &[&str]| home.run(&[&["subscriptions", "update", id], flags].concat());
    assert_eq!(change(&client).code, 2, "without a secret");
    assert_eq!(change(&secret).code, 2, "alone");
    assert_eq!(change(&[&client[..], &secret, &["--basic", "u:p"]].concat()).code, 2);
    change(&["--basic", "u:p"]).done();
    assert!(!home.run(&["subscriptions", "get", id]).done().contains("oauth2"));
}

#[test]
fn another_origin_asks_for_the_secrets_anew() {
    let home = Home::new();
    let add =
        ["subscriptions", "create", "--url", "https://example.com/hook", "--topic", "order.*"];
    let made =
        home.run(&[&add[..], &["--auth-token", "geheim-0123", "--json"][..]].concat()).json();
    let id = made["id"].as_str().unwrap();
    let change = |flags: &[&str]| {
        let to = ["subscriptions", "update", id, "--url", "https://example.org/hook"];
        home.run(&[&to[..], flags].concat())
    };
    let refused = change(&[]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("`auth_token` and `secrets`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("--keep-secrets"), "{}", refused.stderr);
    assert_eq!(change(&["--clear", "auth_token"]).code, 2);
    change(&["--keep-secrets"]).done();
}

#[test]
fn an_address_that_is_not_called_is_reported_when_it_is_added() {
    let home = Home::new();
    let add = |url| home.run(&["subscriptions", "create", "--url", url, "--topic", "t"]);
    let answer = add("http://10.1.2.3/hook");
    assert!(answer.stderr.contains("homing: note: 10.1.2.3 is not public"), "{}", answer.stderr);
    answer.done();
    let allowed = add("http://127.0.0.1/hook");
    assert!(!allowed.stderr.contains("note"), "{}", allowed.stderr);
}

#[test]
fn a_subscription_can_come_from_a_file_and_errors_name_the_field() {
    let home = Home::new();
    home.write("bad.json", br#"{"url":"ftp://example.com","topics":["a"]}"#);
    let answer = home.run(&["subscriptions", "create", "--from", "bad.json"]);
    assert_eq!(answer.code, 2);
    assert!(answer.stderr.starts_with("homing: `url`: `ftp` is not a scheme"), "{}", answer.stderr);

    let draft = br#"{"url":"https://example.com","topics":["a"],"secrets":[]}"#;
    let made = home.run_with(&["subscriptions", "create", "--from", "-", "--json"], draft).json();
    assert_eq!(made["secret"], Value::Null);
    assert_eq!(made["secrets"], Value::Array(Vec::new()));
}

#[test]
fn a_subscription_is_tested_by_one_real_request() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    let endpoint = std::thread::spawn(move || {
        for answer in ["200 OK\r\ncontent-length: 6", "503 Busy\r\ncontent-length: 6"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"POST /hook"));
            let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\n\r\nthanks");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let add = ["subscriptions", "create", "--url", &hook, "--topic", "order.*", "--json"];
    let made = home.run(&add).json();
    let id = made["id"].as_str().unwrap();

    let tested = home.run(&["subscriptions", "test", id]).done();
    assert!(tested.contains("outcome     accepted 200"), "{tested}");
    assert!(tested.contains("response    thanks"), "{tested}");

    let tested = home.run(&["subscriptions", "test", id, "--json"]);
    assert_eq!(tested.code, 1);
    assert!(tested.stdout.contains("\"outcome\": \"refused 503\""), "{}", tested.stdout);
    endpoint.join().unwrap();
}
