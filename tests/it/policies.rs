//! Only https, and only some ports: what the settings do not allow is neither taken nor called.

use crate::support::{broker::Raw, eventually, holds, process::Site, receiver::Receiver};

/// Runs a command with another setting of `[endpoint]`; true if it succeeded, and what it wrote.
fn run(site: &Site, setting: (&str, &str), arguments: &[&str]) -> (bool, String) {
    let name = format!("HOMING__ENDPOINT__{}", setting.0);
    let output = site.command(arguments).env(name, setting.1).output();
    let output = output.expect("the program can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Goal: a URL that the settings refuse is refused by name when it is given; a subscription that has
/// it already says so, can be changed otherwise, and is not called.
#[tokio::test]
async fn urls_that_the_settings_refuse_are_neither_taken_nor_called() {
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/");
    let port = url.rsplit_once(':').expect("a port").1.trim_end_matches('/').to_owned();
    for (setting, named) in [
        (("HTTPS_ONLY", "true"), "endpoint.https_only"),
        (("REFUSE_PORTS", &*format!("22,{port}")), "endpoint.refuse_ports"),
        (("ALLOW_PORTS", "443"), "endpoint.allow_ports"),
    ] {
        let site = Site::new(&[60_000], "");
        let id = site.subscribe(&url, "#", &[]);
        let create = ["subscriptions", "create", "--url", &receiver.url("/new"), "--topic", "#"];
        let (is_done, said) = run(&site, setting, &create);
        assert!(!is_done && said.contains("`url`") && said.contains(named), "{said}");
        let secret = site.folder.path().join("secret");
        std::fs::write(&secret, "secret").expect("it can be written");
        let (token_url, secret) = (receiver.url("/token"), secret.display().to_string());
        let create = ["subscriptions", "create", "--url", "https://example.com/", "--topic", "#"];
        let client = ["--oauth2-token-url", &token_url, "--oauth2-client-id", "c"];
        let client = [&client[..], &["--oauth2-client-secret-file", &secret]].concat();
        let (is_done, said) = run(&site, setting, &[&create[..], &client].concat());
        let names_both = said.contains("`authentication.oauth2.token_url`") && said.contains(named);
        assert!(!is_done && names_both, "{said}");
        let (is_done, said) = run(&site, setting, &["subscriptions", "get", &id]);
        assert!(is_done && said.contains("not called") && said.contains(named), "{said}");
        let update = ["subscriptions", "update", &id, "--description", "still here"];
        let (is_done, said) = run(&site, setting, &update);
        assert!(is_done, "{said}");

        let name = format!("HOMING__ENDPOINT__{}", setting.0);
        let worker = site.start_with(&[(&name, setting.1)]);
        site.wait_for_consumers(1).await;
        site.publisher().await.publish(Raw::new("t", "event-1", "{}")).await;
        eventually(async || {
            let shown = site.run(&["attempts", "--json"]);
            holds(shown.contains(named), shown)
        })
        .await;
        drop(worker);
        assert_eq!(receiver.count(), 0, "it was called");
    }
}

/// Goal: a setting that makes no sense is refused at start, by name.
#[test]
fn settings_that_make_no_sense_are_named() {
    let site = Site::new(&[60_000], "");
    for (setting, named) in [
        (("ALLOW_PORTS", "https"), "`endpoint.allow_ports`"),
        (("REFUSE_PORTS", "9-1"), "`endpoint.refuse_ports`"),
        (("PROXY", "ftp://u:a-secret@proxy"), "`endpoint.proxy`"),
        (("PROXY_LOGIN_FILE", "/nowhere"), "`endpoint.proxy_login_file`"),
        (("NO_PROXY", "http://a"), "`endpoint.no_proxy`"),
        (("PROXY_DNS", "other"), "`endpoint.proxy_dns`"),
    ] {
        let (is_done, said) = run(&site, setting, &["run", "--check"]);
        assert!(!is_done && said.contains(named), "{setting:?}: {said}");
        assert!(!said.contains("a-secret"), "{said}");
    }
    let proxy = ("PROXY", "http://user:a-secret@proxy:3128");
    let (is_done, said) = run(&site, proxy, &["run", "--check"]);
    assert!(is_done && said.contains("http://user:****@proxy:3128"), "{said}");
}
