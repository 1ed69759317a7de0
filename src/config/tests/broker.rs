//! Errors in `[broker]`.

use crate::config::Settings;

fn error(toml: &str) -> String {
    Settings::from_toml(&format!("[broker]\n{toml}")).unwrap_err().to_string()
}

#[test]
fn a_url_that_is_wrong_is_named_by_its_place() {
    let error = error("url = \"amqp://u:p@a amqp://u@b\"");
    insta::assert_snapshot!(error, @"`broker.url`: URL 2: there is a user and no password; write it as amqp://user:password@host:5672/vhost");
}

#[test]
fn a_login_by_certificate_needs_one() {
    let url = "url = \"amqps://a?auth_mechanism=external\"";
    insta::assert_snapshot!(error(url), @"`broker.url`: `auth_mechanism=external` needs a client certificate: `certfile` and `keyfile` in the URL, or `broker.client_certificate_file` and `broker.client_key_file`");
    insta::assert_snapshot!(error("client_key_file = \"k\""), @"`broker.client_certificate_file`: a client certificate is `broker.client_certificate_file` and `broker.client_key_file` together");
}
