//! Events become CloudEvents in both modes, and those that are some already stay as they are.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{delivery::Progress, id::EventId, topic::Topic};

const NOW: UnixMillis = UnixMillis::new(0);

fn event(content_type: &str, body: &[u8], encoding: Option<&str>) -> Event {
    Event {
        id: EventId::new("e 1").unwrap(),
        topic: Topic::new("größe.geändert").unwrap(),
        content_type: content_type.to_owned(),
        content_encoding: encoding.and_then(ContentEncoding::new),
        body: Bytes::copy_from_slice(body),
    }
}

fn delivery(content_type: &str, body: &[u8], encoding: Option<&str>) -> Delivery {
    let id = "01931f5a-9c4e-7000-8000-000000000001".parse().unwrap();
    let received = Some(UnixMillis::new(1_700_000_000_999));
    let progress = Progress { received, ..Progress::default() };
    Delivery::new(Arc::new(event(content_type, body, encoding)), id, progress)
}

fn in_structured_mode(delivery: &Delivery) -> Value {
    let (content_type, body) = structured(delivery, "urn:homing", NOW).unwrap();
    assert!(content_type.starts_with(STRUCTURED));
    serde_json::from_slice(&body).unwrap()
}

fn lines(binary: &Binary) -> String {
    let lines = binary.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_event_gets_attributes_that_are_headers_in_binary_mode() {
    let delivery = delivery("a/b", b"abc", Some("gzip"));
    let binary = CloudEvent::of(&delivery, "/shop?a=%20", NOW).binary();
    insta::assert_snapshot!(lines(&binary), @"
    ce-id: e%201
    ce-source: /shop?a=%2520
    ce-specversion: 1.0
    ce-time: 2023-11-14T22:13:20.999Z
    ce-type: gr%C3%B6%C3%9Fe.ge%C3%A4ndert
    ");
    assert_eq!(binary.content_type.as_deref(), Some("a/b"));
    assert_eq!(binary.content_encoding, ContentEncoding::new("gzip"));
    assert_eq!(binary.body, "abc");
}

#[test]
fn data_keeps_its_bytes_in_structured_mode() {
    let json = delivery("application/json", br#"{"n": 1.0, "u": "\u00fc"}"#, None);
    let (_, text) = structured(&json, "urn:homing", NOW).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    insta::assert_snapshot!(text, @r#"{"id":"e 1","source":"urn:homing","specversion":"1.0","time":"2023-11-14T22:13:20.999Z","type":"größe.geändert","datacontenttype":"application/json","data":{"n": 1.0, "u": "\u00fc"}}"#);

    let message = |content_type: &str, body: &[u8], encoding| {
        in_structured_mode(&delivery(content_type, body, encoding))
    };
    assert_eq!(message("", b"[1]", None)["data"], json!([1]));
    assert_eq!(message("x/y+json; a=b", b"1", None)["data"], 1);
    assert_eq!(message("text/plain", "ü".as_bytes(), None)["data"], "ü");
    for (content_type, body, encoding) in [
        ("application/json", &b"{"[..], None),
        ("application/json", b"\xef\xbb\xbf{}", None),
        ("text/plain", b"\xff", None),
        ("image/png", b"abc", None),
        ("application/json", b"{}", Some("gzip")),
    ] {
        let message = message(content_type, body, encoding);
        assert_eq!(message.get("data"), None, "{message}");
        assert_eq!(message["data_base64"], STANDARD.encode(body), "{message}");
        assert_eq!(message.get(CONTENT_ENCODING).and_then(Value::as_str), encoding);
    }
    let nothing = message("text/plain", b"", None);
    assert!(nothing.get("data").is_none() && nothing.get("data_base64").is_none());
}

#[test]
fn an_event_that_was_published_in_structured_mode_stays_as_it_is() {
    let body =
        br#" {"specversion": "1.0", "id": "p-1", "type": "t", "source": "/p", "data": {"n": 1.0}}"#;
    let delivery = delivery("application/cloudevents+json; charset=utf-8", body, None);
    let (content_type, sent) = structured(&delivery, "urn:homing", NOW).unwrap();
    assert_eq!(content_type, "application/cloudevents+json; charset=utf-8");
    assert_eq!(sent, &body[..]);

    let binary = CloudEvent::of(&delivery, "urn:homing", NOW).binary();
    insta::assert_snapshot!(lines(&binary), @"
    ce-id: p-1
    ce-source: /p
    ce-specversion: 1.0
    ce-type: t
    ");
    assert_eq!(binary.content_type.as_deref(), Some("application/json"));
    assert_eq!(binary.body, r#"{"n": 1.0}"#);
}

/// Goal: data of every kind leaves the structured mode as *JSON Event Format*, 3.1, reads it.
#[test]
fn data_that_was_published_in_structured_mode_is_unpacked_for_binary_mode() {
    let unpacked = |more: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"p","type":"t","source":"/p"{more}}}"#);
        let delivery = delivery(STRUCTURED, body.as_bytes(), None);
        let binary = CloudEvent::of(&delivery, "urn:homing", NOW).binary();
        assert_eq!(binary.headers[0].1, "p", "{body}");
        (binary.content_type.unwrap_or_default(), binary.body)
    };
    let is = |content_type: &str, body: &'static [u8]| {
        (content_type.to_owned(), Bytes::from_static(body))
    };
    assert_eq!(unpacked(""), is("", b""));
    assert_eq!(unpacked(r#","data":null,"subject":null"#), is("", b""));
    assert_eq!(unpacked(r#","data":"a""#), is("application/json", b"\"a\""));
    let text = r#","datacontenttype":"text/plain","data":"a\n\u00fc""#;
    assert_eq!(unpacked(text), is("text/plain", "a\nü".as_bytes()));
    let json = r#","datacontenttype":"text/xml","data":{"a": 1}"#;
    assert_eq!(unpacked(json), is("text/xml", br#"{"a": 1}"#));
    let bytes = r#","datacontenttype":"image/png","data_base64":"AP8=""#;
    assert_eq!(unpacked(bytes), is("image/png", b"\x00\xff"));
}

#[test]
fn a_body_that_only_claims_to_be_an_event_is_data() {
    for body in [
        "{",
        "[]",
        r#"{"specversion":"1.0","id":"p","type":"t"}"#,
        r#"{"specversion":"1.0","id":"","type":"t","source":"/p"}"#,
        r#"{"specversion":"0.3","id":"p","type":"t","source":"/p"}"#,
        r#"{"specversion":"1.0","id":7,"type":"t","source":"/p"}"#,
        r#"{"specversion":"1.0","id":"p","type":"t","source":"/p","x":{}}"#,
        r#"{"specversion":"1.0","id":"p","type":"t","source":"/p","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"p","type":"t","source":"/p","data_base64":"?"}"#,
    ] {
        let message = in_structured_mode(&delivery(STRUCTURED, body.as_bytes(), None));
        assert_eq!(
            (&message["id"], &message["datacontenttype"]),
            (&"e 1".into(), &STRUCTURED.into())
        );
    }
}

#[test]
fn attributes_that_came_in_binary_mode_are_kept_and_those_that_lack_are_filled_in() {
    let own = json!({"specversion": "1.0", "id": "p 2", "type": "t", "n": 7, "subject": "ü"});
    let Value::Object(own) = own else { panic!("an object") };
    let delivery = delivery("application/json", b"{}", None).with_cloud_event(Some(Arc::new(own)));
    let binary = CloudEvent::of(&delivery, "/here", NOW).binary();
    insta::assert_snapshot!(lines(&binary), @"
    ce-id: p%202
    ce-n: 7
    ce-source: /here
    ce-specversion: 1.0
    ce-subject: %C3%BC
    ce-type: t
    ");
    let message = in_structured_mode(&delivery);
    assert_eq!((&message["n"], &message["subject"]), (&7.into(), &"ü".into()));
    assert_eq!((&message["id"], message.get("time")), (&"p 2".into(), None));
}

/// Goal: data of a type by which receivers know another mode is not sent in binary mode.
#[test]
fn a_type_of_another_mode_does_not_fit_binary_mode() {
    let fits = |content_type: &str, body: &[u8]| {
        let delivery = delivery(content_type, body, None);
        CloudEvent::of(&delivery, "/here", NOW).fits_binary_mode()
    };
    for kind in ["application/json", "text/plain", "application/cloud", "image/png"] {
        assert!(fits(kind, b"1"), "{kind}");
    }
    for kind in [STRUCTURED, "Application/CloudEvents-batch+json; charset=utf-8"] {
        assert!(!fits(kind, b"[]"), "{kind}");
    }
    let whole = br#"{"specversion":"1.0","id":"p","type":"t","source":"/p","data":1}"#;
    assert!(fits(STRUCTURED, whole), "it is the type of the data that counts");
}

/// Goal: a member is there once, whatever a publisher calls its attributes.
#[test]
fn the_codings_of_the_data_are_those_of_the_event() {
    let own = json!({"specversion": "1.0", "id": "p", "type": "t", "contentencoding": "br"});
    let Value::Object(own) = own else { panic!("an object") };
    let packed = delivery("application/json", b"{}", Some("gzip"));
    let packed = packed.with_cloud_event(Some(Arc::new(own)));
    let (_, text) = structured(&packed, "/here", NOW).unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(text.matches("contentencoding").count(), 1, "{text}");
    assert!(text.contains(r#""contentencoding":"gzip""#), "{text}");
}

#[test]
fn a_source_is_a_uri_reference_and_names_are_plain() {
    for source in ["/orders", "https://a.example/b?c#d", "urn:x:y", "a%20b"] {
        assert!(is_source(source), "{source}");
    }
    for source in ["", "a b", "ü", "a\nb"] {
        assert!(!is_source(source), "{source}");
    }
    assert!(is_attribute_name("subject2") && !is_attribute_name("Subject"));
    assert!(["", "data", "a_b", "ü"].iter().all(|name| !is_attribute_name(name)));
}
