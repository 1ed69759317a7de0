//! Errors in settings, and the settings shown.

mod broker;
mod circuit;
mod source;

use super::*;
use homing_domain::report::Chain;

fn error(toml: &str) -> String {
    Chain(&Settings::from_toml(toml).unwrap_err()).to_string()
}

#[test]
fn the_shipped_defaults_are_accepted() {
    Settings::from_toml("").unwrap();
}

#[test]
fn variables_with_one_underscore_are_refused() {
    let check = |names: &[&str]| {
        let names = names.iter().copied().map(str::to_owned);
        Layer::text(DEFAULTS).unwrap().check_variables(names)
    };
    check(&["HOMING__BROKER__URL", "HOMING_BROKER_PASSWORD", "HOMING_TEST_AMQP_URL", "PATH"])
        .unwrap();
    let wrong = check(&["HOMING_BROKER_URL"]).unwrap_err();
    insta::assert_snapshot!(Chain(&wrong), @"`HOMING_BROKER_URL`: variables of settings have two underscores twice: `HOMING__BROKER__URL`");
}

#[test]
fn misspelt_keys_are_refused_by_name() {
    insta::assert_snapshot!(error("[worker]\nmax_inflight = 3"), @"`worker.max_inflight`: there is no such setting; did you mean `worker.max_in_flight`? `homing config` lists all");
    insta::assert_snapshot!(error("max_in_flight = 3"), @"`max_in_flight`: there is no such setting; did you mean `worker.max_in_flight`? `homing config` lists all");
    insta::assert_snapshot!(error("[workers]\nmax_in_flight = 3"), @"`workers`: there is no such setting; did you mean `worker`? `homing config` lists all");
}

#[test]
fn values_that_make_no_sense_name_their_key() {
    insta::assert_snapshot!(error("[worker]\nmax_in_flight = 1"), @"`worker.max_in_flight`: between 2 and 100000");
    insta::assert_snapshot!(error("[worker]\ntarget_rate = 0"), @"`worker.target_rate`: between 1 and 1000000");
    insta::assert_snapshot!(error("[worker]\ncatch_up = \"10ms\""), @"`worker.catch_up`: between 1s and 24h");
    insta::assert_snapshot!(error("[worker]\ndrain_grace = \"soon\""), @r#"`worker.drain_grace`: invalid value: string "soon", expected a duration; for example "10s""#);
    insta::assert_snapshot!(error("[broker]\nurl = \"localhost\""), @"`broker.url`: not an AMQP URL; write it as amqp://user:password@host:5672/vhost");
    insta::assert_snapshot!(error("[broker]\nprefix = \"a b\""), @"`broker.prefix`: a prefix has 1 to 64 letters, digits, `-`, `_` and `.`");
    insta::assert_snapshot!(error("[endpoint]\nallow_networks = [\"10.0.0.0/33\"]"), @"`endpoint.allow_networks`: `10.0.0.0/33` is not a network such as 10.1.0.0/16");
    insta::assert_snapshot!(error("[endpoint]\ndeadline = \"99999y\""), @"`endpoint.deadline`: at most 10m: the broker takes back what a worker keeps for half an hour");
    insta::assert_snapshot!(error("[schedule]\ndefault = \"hourly\""), @"`schedule.default`: no schedule `hourly`; one of workfront, workfront-delay, standard-webhooks");
    insta::assert_snapshot!(error("[schedule.custom]\nfast = [\"0s\"]"), @"`schedule.custom`: fast: wait 1 is 0ns; a wait lasts from 1 ms to 4294967.295s");
    insta::assert_snapshot!(error("[store]\nurl = \"mysql://x\""), @"`store.url`: write it as sqlite:homing.db or postgres://user:password@host:5432/database");
    insta::assert_snapshot!(error("[api]\ntokens = [\"short\"]"), @"`api.tokens`: a token has at least 16 bytes");
    insta::assert_snapshot!(error("[store]\nencryption_keys = [\"short\"]"), @"`store.encryption_keys`: an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one");
    insta::assert_snapshot!(error(&format!("[store]\nencryption_keys = [\"{}=\"]\nencryption_key_file = \"k\"", "A".repeat(43))), @"`store.encryption_key_file`: set either `store.encryption_keys` or this, not both");
    insta::assert_snapshot!(error("[attempts]\nkeep = \"1s\""), @"`attempts.keep`: between 1m and 10 years");
    insta::assert_snapshot!(error("[attempts]\nmax_rows = 0"), @"`attempts.max_rows`: between 1000 and 100000000; to log nothing, set `attempts.enabled`");
    insta::assert_snapshot!(error("[audit]\nkeep = \"1m\""), @"`audit.keep`: between 1 day and 100 years");
    insta::assert_snapshot!(error("[audit]\nmax_rows = 0"), @"`audit.max_rows`: between 1000 and 100000000");
    insta::assert_snapshot!(error("[ledger]\nkeep = \"1m\""), @"`ledger.keep`: between 1 day and 366 days");
    insta::assert_snapshot!(error("[ledger]\nmax_rows = 0"), @"`ledger.max_rows`: between 1000 and 100000000; to keep none, set `ledger.enabled`");
    insta::assert_snapshot!(error("[history]\nkeep = \"1h\""), @"`history.keep`: between 2h and 10 years");
    insta::assert_snapshot!(error("[history]\nmax_rows = 0"), @"`history.max_rows`: between 1000 and 100000000; to keep none, set `history.enabled`");
    insta::assert_snapshot!(error("[history]\nmax_names = 0"), @"`history.max_names`: between 1 and 100000");
    insta::assert_snapshot!(error("[history]\nmax_topics = 0"), @"`history.max_topics`: between 1 and 1000000");
    insta::assert_snapshot!(error("[traces]\ncollector = \"nowhere\""), @"`traces.collector`: write it as http://127.0.0.1:4318, or https://…; empty: no traces");
    insta::assert_snapshot!(error("[traces]\nsample_percent = 101"), @"`traces.sample_percent`: from 0 to 100");
    insta::assert_snapshot!(error("[attempts]\nresponse_bytes = 5000"), @"`attempts.response_bytes`: at most 4096");
}

#[test]
fn a_setting_of_a_few_words_names_them() {
    insta::assert_snapshot!(error("[endpoint]\nproxy_dns = \"both\""), @r#"`endpoint.proxy_dns`: unknown value `both`, expected `homing` or `proxy`; for example "homing""#);
    insta::assert_snapshot!(error("[circuit]\non_gone = \"stop\""), @r#"`circuit.on_gone`: unknown value `stop`, expected `freeze` or `retry`; for example "freeze""#);
    insta::assert_snapshot!(error("[events]\ntopic_from = \"key\""), @r#"`events.topic_from`: unknown value `key`, expected `routing-key` or `type`; for example "routing-key""#);
    insta::assert_snapshot!(error("[events]\nsubscription_header = \"x\""), @r#"`events.subscription_header`: unknown value `x`, expected `refuse` or `accept`; for example "refuse""#);
    insta::assert_snapshot!(error("[attempts]\npayloads = \"some\""), @r#"`attempts.payloads`: unknown value `some`, expected one of `failed`, `all`, `none`; for example "failed""#);
    insta::assert_snapshot!(error("[log]\nformat = \"xml\""), @r#"`log.format`: unknown value `xml`, expected `human` or `json`; for example "human""#);
    insta::assert_snapshot!(error("[api]\ncolour = \"pink\""), @r#"`api.colour`: unknown value `pink`, expected one of ``, `blue`, `green`, `amber`, `red`, `violet`, `grey`; for example """#);
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let unknown = "[worker]\nfoo = 1\nbar = 2\n[x]\ny = 3";
    insta::assert_snapshot!(error(unknown), @"`worker.bar`: there is no such setting; `homing config` lists all; `worker.foo`: there is no such setting; `homing config` lists all; `x`: there is no such setting; `homing config` lists all");
    let values = "[worker]\nmax_in_flight = 1\n[attempts]\nkeep = \"1s\"";
    insta::assert_snapshot!(error(values), @"`worker.max_in_flight`: between 2 and 100000; `attempts.keep`: between 1m and 10 years");
}

/// Reported: a password in the line above a mistake was printed with it.
#[test]
fn what_is_wrong_is_named_without_what_may_be_secret() {
    let toml = "[broker]\nurl = \"amqp://u:hidden@h\n[api]";
    insta::assert_snapshot!(error(toml), @r#"the settings cannot be read from a text: TOML parse error at line 2, column 25: invalid basic string, expected `"`"#);
    insta::assert_snapshot!(error("[api]\ntokens = \"hidden\""), @"`api.tokens`: a token has at least 16 bytes");
    insta::assert_snapshot!(error("[store]\nencryption_keys = \"hidden\""), @"`store.encryption_keys`: an encryption key is 32 random bytes in base64 (44 characters); `homing keys generate` makes one");
    insta::assert_snapshot!(error("[broker]\nurl = [\"hidden\"]"), @"`broker.url`: it has to be a string");
}

#[test]
fn addresses_are_shown_without_the_keys_in_them() {
    let shown = |toml: &str| Settings::from_toml(toml).unwrap().shown();
    let stream = "[source.livestream.main]\nclient_id = \"id\"\nclient_secret = \"hidden\"\n";
    for toml in [
        "[traces]\ncollector = \"https://hidden:hidden@otlp.example.com\"",
        "[traces]\ncollector = \"https://hidden@otlp.example.com/a?api-key=hidden\"",
        &format!("{stream}url = \"https://stream.example.com/s?key=hidden\""),
        &format!("{stream}url = \"https://x.example.com/s\"\ntoken_url = \"https://x/?hidden\""),
    ] {
        let shown = shown(toml);
        assert!(!shown.contains("hidden"), "{shown}");
    }
    let shown = shown("[traces]\ncollector = \"http://127.0.0.1:4318\"");
    assert!(shown.contains("traces.collector = \"http://127.0.0.1:4318\"\n"), "{shown}");
}

#[test]
fn what_is_shown_has_no_secrets() {
    let settings = Settings::from_toml(
        "[broker]\nurl = \"amqp://me:hidden@h1 amqp://h2/v\"\n[api]\ntokens = [\"hidden-token-0123456789\"]
         [store]\nurl = \"postgres://homing:hid%2Fden@db/homing?sslmode=require\"",
    )
    .unwrap();
    assert_eq!(settings.broker.locations(), ["amqp://me@h1:5672", "amqp://guest@h2:5672/v"]);
    let shown = settings.shown();
    assert!(!shown.contains("hidden"), "{shown}");
    let store = "store.url = \"postgres://homing:****@db/homing?sslmode=require\"";
    assert!(!shown.contains("hid%2Fden") && shown.contains(store), "{shown}");
    assert!(shown.contains("broker.url = \"amqp://me:****@h1 amqp://h2/v\""), "{shown}");
}
