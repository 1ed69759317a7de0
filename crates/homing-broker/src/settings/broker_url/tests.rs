//! URLs as users, Kubernetes operators and libraries write them.

use super::*;

fn parsed(text: &str) -> BrokerUrl {
    BrokerUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Everything that decides where and as whom homing connects.
fn target(text: &str) -> String {
    let url = parsed(text);
    let login = match &url.login {
        Login::Password { user, password } => format!("{user:?} {password:?}"),
        Login::Certificate => "certificate".to_owned(),
    };
    let scheme = if url.tls { "tls" } else { "tcp" };
    format!("{scheme} {} {} {login} {:?}", url.host, url.port, url.vhost)
}

#[test]
fn a_url_leads_exactly_where_it_says() {
    for (text, leads_to) in [
        ("amqp://u:p@host", r#"tcp host 5672 "u" "p" "/""#),
        ("amqps://u:p@host", r#"tls host 5671 "u" "p" "/""#),
        ("amqp://u:p@[2001:db8::1]:5673/", r#"tcp [2001:db8::1] 5673 "u" "p" "/""#),
        ("amqps://u:p@[::1]/v", r#"tls [::1] 5671 "u" "p" "v""#),
        ("amqp://u:p@10.1.2.3:1", r#"tcp 10.1.2.3 1 "u" "p" "/""#),
        ("amqp://u:p@rabbit%2Dmq.example", r#"tcp rabbit-mq.example 5672 "u" "p" "/""#),
        ("amqp://u:p@BÜCHER.example", r#"tcp xn--bcher-kva.example 5672 "u" "p" "/""#),
        ("amqp://u%40d:p%2Fa%3A%23%3F%25@host/", r#"tcp host 5672 "u@d" "p/a:#?%" "/""#),
        ("amqp://u:p+q@host/a+b", r#"tcp host 5672 "u" "p+q" "a+b""#),
        ("amqp://:token@host", r#"tcp host 5672 "" "token" "/""#),
        ("amqp://host/", r#"tcp host 5672 "guest" "guest" "/""#),
        ("amqp://u:p@host//", r#"tcp host 5672 "u" "p" "/""#),
        ("amqp://u:p@host/%2F", r#"tcp host 5672 "u" "p" "/""#),
        ("amqp://u:p@host/%2fa%2Fb", r#"tcp host 5672 "u" "p" "/a/b""#),
        ("amqps://host?auth_mechanism=EXTERNAL", r#"tls host 5671 certificate "/""#),
    ] {
        assert_eq!(target(text), leads_to, "{text}");
    }
}

#[test]
fn every_parameter_is_acted_on() {
    let url = parsed(
        "amqps://u:p@host/v?heartbeat=7&connection_timeout=1500&channel_max=9&frame_max=8192\
         &cacertfile=/etc/my%20ca+1.pem&certfile=/c&keyfile=/k&verify=verify_peer\
         &server_name_indication=inner&auth_mechanism=plain",
    );
    let expected = Parameters {
        heartbeat: Some(Duration::from_secs(7)),
        connect_deadline: Some(Duration::from_millis(1_500)),
        max_channels: Some(9),
        max_frame_bytes: Some(8_192),
        ca_file: Some("/etc/my ca+1.pem".into()),
        certificate_file: Some("/c".into()),
        key_file: Some("/k".into()),
        server_name: Some("inner".to_owned()),
        external: false,
    };
    assert_eq!(url.parameters, expected);
}

#[test]
fn what_cannot_be_acted_on_is_refused_by_name_and_without_the_password() {
    let mut errors = Vec::new();
    for text in [
        "localhost",
        "http://u:hidden@host",
        "amqp://",
        "amqp:///v",
        "amqp://u:hid/den@host:5672",
        "amqp://u:12/hidden@host",
        "amqp://u:12?hidden=x@host",
        "amqp://u:12#hidden@host",
        "amqp://u:hidden@host#x",
        "amqp://u:hidden@host:0",
        "amqp://u:hidden@ho%20st",
        "amqp://user@host",
        "amqp://u:hidden%ff@host",
        "amqp://u:hidden@host/a/b",
        "amqp://u:hidden@host?heartbeat=0",
        "amqp://u:hidden@host?frame_max=many",
        "amqp://u:hidden@host?Hidden=1",
        "amqp://u:hidden@host?fail_if_no_peer_cert=true",
        "amqp://u:hidden@host?heartbeat=5&heartbeat=6",
        "amqp://u:hidden@host?cacertfile=/ca",
        "amqps://u:hidden@host?certfile=/c",
        "amqps://u:hidden@host?verify=verify_none",
        "amqps://u:hidden@host?server_name_indication=disable",
        "amqps://u:hidden@host?auth_mechanism=external",
        "amqp://host?auth_mechanism=external",
        "amqp://u:hidden@host?auth_mechanism=amqplain",
    ] {
        let error = BrokerUrl::parse(text).map(|_| ()).expect_err(text);
        assert!(!error.to_lowercase().contains("hid"), "{text}: {error}");
        errors.push(error);
    }
    insta::assert_snapshot!(errors.join("\n"), @"
    not an AMQP URL; write it as amqp://user:password@host:5672/vhost
    not an AMQP URL; write it as amqp://user:password@host:5672/vhost
    there is no host; write it as amqp://user:password@host:5672/vhost
    there is no host; write it as amqp://user:password@host:5672/vhost
    not an AMQP URL (invalid port number); write it as amqp://user:password@host:5672/vhost, with %40 for @, %2F for / and so on in the password
    an @ behind the host: in a password, write / as %2F, ? as %3F and # as %23; anywhere behind the host, write @ as %40
    an @ behind the host: in a password, write / as %2F, ? as %3F and # as %23; anywhere behind the host, write @ as %40
    an @ behind the host: in a password, write / as %2F, ? as %3F and # as %23; anywhere behind the host, write @ as %40
    nothing may follow a #; in a password or a name, write it as %23
    a port is a number from 1 to 65535
    the host: invalid international domain name
    there is a user and no password; write it as amqp://user:password@host:5672/vhost
    the password is not UTF-8 once its % are decoded
    a virtual host is one word behind the host; a / in its name is written %2F
    `heartbeat` is a number from 1 to 3600
    `frame_max` is a number from 4096 to 1048576
    homing knows no parameter `…`; it knows heartbeat, connection_timeout, channel_max, frame_max, cacertfile, certfile, keyfile, verify, server_name_indication, auth_mechanism
    homing knows no parameter `fail_if_no_peer_cert`; it knows heartbeat, connection_timeout, channel_max, frame_max, cacertfile, certfile, keyfile, verify, server_name_indication, auth_mechanism
    the parameter `heartbeat` is there twice
    certificates are for TLS: write amqps:// instead of amqp://
    `certfile` and `keyfile` come together
    `verify` is verify_peer: homing always checks the broker's certificate; name its authority in `cacertfile` or `broker.ca_file`
    `server_name_indication` is the name that the broker's certificate is for, and cannot be disabled
    with `auth_mechanism=external` the user is that of the client certificate; leave user and password out
    `auth_mechanism=external` needs a client certificate, and so amqps://
    `auth_mechanism` is plain or external
    ");
}

#[test]
fn what_is_shown_has_no_password() {
    let url = parsed("amqps://me:hidden@[::1]/a%2Fb?cacertfile=/hidden");
    assert_eq!(url.shown(), "[::1]:5671/a%2Fb");
    assert_eq!(url.location(), "amqps://me@[::1]:5671/a%2Fb");
    assert_eq!(format!("{url:?}"), r#"BrokerUrl("amqps://me@[::1]:5671/a%2Fb")"#);
}
