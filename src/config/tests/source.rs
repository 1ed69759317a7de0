//! Errors in `[source]`.

use crate::config::Settings;
use homing_domain::report::Chain;

const STREAM: &str = "url = \"https://livestream.adobe.net/api/1/stream/s\"\n\
                      client_id = \"id\"\nclient_secret = \"hidden\"\n";

fn error(section: &str, changed: &str) -> String {
    let is_changed = |line: &&str| line.split(' ').next() == changed.split(' ').next();
    let stream: Vec<_> = STREAM.lines().filter(|line| !is_changed(line)).collect();
    let stream = stream.join("\n");
    let toml = format!("{section}\n[source.livestream.main]\n{stream}\n{changed}\n");
    Chain(&Settings::from_toml(&toml).unwrap_err()).to_string()
}

#[test]
fn a_source_is_a_section_or_an_entry_of_a_list() {
    let section = format!("[source.livestream.main]\n{STREAM}");
    let list = format!("[[source.livestream]]\nname = \"main\"\n{STREAM}");
    let [section, list] = [section, list].map(|toml| Settings::from_toml(&toml).unwrap());
    assert_eq!(section.shown(), list.shown());
    let stream = &list.source.livestream["main"];
    assert_eq!((stream.topic.as_str(), stream.max_connections), ("livestream", 1));
    assert_eq!(list.source.slots().collect::<Vec<_>>(), [("main", 1)]);
    assert!(!list.shown().contains("hidden"), "{}", list.shown());
    assert!(list.shown().contains("source.livestream.main.client_secret = \"****\""));
}

#[test]
fn mistakes_of_a_source_are_reported_by_name() {
    insta::assert_snapshot!(error("", "urll = 1"), @"`source.livestream.main`: unknown field `urll`, expected one of `url`, `client_id`, `client_secret`, `client_secret_file`, `scope`, `token_url`, `redirect_hosts`, `topic`, `max_connections`, `smoothing`");
    insta::assert_snapshot!(error("", "client_secret = \"\""), @"`source.livestream.main.client_secret`: missing; set it, or `client_secret_file`");
    insta::assert_snapshot!(error("", "client_secret_file = \"/run/secret\""), @"`source.livestream.main.client_secret_file`: there is a `client_secret` too; one of both");
    insta::assert_snapshot!(error("", "max_connections = 9"), @"`source.livestream.main.max_connections`: between 1 and 8");
    insta::assert_snapshot!(error("", "max_connections = \"many\""), @r#"`source.livestream.main.max_connections`: invalid type: string "many", expected an integer"#);
    insta::assert_snapshot!(error("", "topic = \"homing\""), @"`source.livestream.main.topic`: topics that begin with `homing.` are homing's own");
    insta::assert_snapshot!(error("", "topic = \"a..b\""), @"`source.livestream.main.topic`: words of letters, digits, `-` and `_`, with dots between them");
    insta::assert_snapshot!(error("", "url = \"ftp://x\""), @"`source.livestream.main.url`: an address such as https://livestream.adobe.net/api/1/stream/NAME");
    insta::assert_snapshot!(error("", "url = \"x\""), @"`source.livestream.main.url`: not a URL: it has no `https://` in front");
    insta::assert_snapshot!(error("", "smoothing = \"3h\""), @"`source.livestream.main.smoothing`: between 1s and 2h, or 0s for none");
    insta::assert_snapshot!(error("[source]\nreconnect_wait = \"5s\"", ""), @"`source.reconnect_wait`: at least 60s: an earlier connect is refused");
    insta::assert_snapshot!(error("[source]\nmax_backoff = \"5s\"", ""), @"`source.max_backoff`: at least `source.reconnect_wait`");
}

#[test]
fn a_list_of_sources_needs_names() {
    let error = |toml: &str| Chain(&Settings::from_toml(toml).unwrap_err()).to_string();
    let nameless = "[source.livestream]\ntoken_url = \"https://hidden\"";
    insta::assert_snapshot!(error(nameless), @"`source.livestream.token_url`: each of `source.livestream` has a name: write [source.livestream.NAME] and `token_url` below");
    insta::assert_snapshot!(error("[[source.livestream]]\nurl = \"x\""), @"`source.livestream`: every [[source.livestream]] has a `name`, a text");
    let twice = format!("[[source.livestream]]\nname = \"a\"\n{STREAM}").repeat(2);
    insta::assert_snapshot!(error(&twice), @"`source.livestream`: `a` is given twice");
    let missing = "[source.livestream.main]\nclient_id = \"x\"";
    insta::assert_snapshot!(error(missing), @r#"the settings cannot be read: missing configuration field "source.livestream.main.url""#);
}
