//! Validation of drafts.

use serde_json::json;

use super::*;

fn draft() -> Value {
    json!({"url": "https://example.com/hook", "topics": ["PROJ.UPDATE"]})
}

fn build(changes: &Value) -> Result<SubscriptionSpec, FieldErrors> {
    let mut draft = draft();
    for (key, value) in changes.as_object().unwrap() {
        draft[key] = value.clone();
    }
    serde_json::from_value::<Draft>(draft).unwrap().build(&["workfront", "fast"])
}

/// The problem, if there is exactly one.
fn only(built: Result<SubscriptionSpec, FieldErrors>) -> FieldError {
    let mut errors = built.unwrap_err().into_iter();
    let error = errors.next().expect("something is wrong");
    assert_eq!(errors.next(), None);
    error
}

#[test]
fn all_problems_are_reported_at_once() {
    let filter =
        |comparison| json!({"fieldName": "a", "fieldValue": "b", "comparison": comparison});
    let errors = build(&json!({
        "url": "nowhere",
        "topics": ["a.*b", "ok", ""],
        "filters": [filter("equals"), filter("eq"), filter("like")],
        "auth_token": "x".repeat(255),
        "secrets": ["whsec_AAAA"],
        "headers": {"Host": "x", "ok": "y", "Webhook-Id": "z"},
        "schedule": "slow",
        "rate_limit": 0,
        "description": "a\u{0}b",
    }));
    let errors = errors.unwrap_err();
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    insta::assert_snapshot!(fields.join(" "), @"url topics[0] topics[2] filters[0].comparison filters[2].comparison auth_token secrets[0] headers.host headers.webhook-id schedule rate_limit description");
    let text = errors.to_string();
    assert!(text.starts_with("`url`: not a URL: it has no `https://` in front"), "{text}");
    assert_eq!(text.matches("; `").count(), 11, "{text}");
}

#[test]
fn a_built_specification_can_be_changed_and_built_again() {
    let spec = build(&json!({
        "topics": ["PROJ.UPDATE", "order.#"],
        "filters": [{"fieldName": "name", "fieldValue": "x", "comparison": "eq"}],
        "auth_token": "0123456789",
        "headers": {"X-Team": "payroll"},
        "schedule": "fast",
        "rate_limit": 5,
    }))
    .unwrap();
    assert_eq!(Draft::from(&spec).build(&["fast"]), Ok(spec));
    let basic = json!({"basic": {"username": "u", "password": "p"}});
    let spec = build(&json!({"authentication": basic})).unwrap();
    assert_eq!(Draft::from(&spec).build(&[]), Ok(spec));
}

#[test]
fn errors_name_the_field() {
    let field = |changes| only(build(&changes)).field;
    assert_eq!(field(json!({"url": "nowhere"})), "url");
    assert_eq!(field(json!({"topics": []})), "topics");
    assert_eq!(field(json!({"topics": ["a", "b*"]})), "topics[1]");
    assert_eq!(field(json!({"auth_token": "x".repeat(255)})), "auth_token");
    assert_eq!(field(json!({"secrets": ["whsec_AAAA"]})), "secrets[0]");
    assert_eq!(field(json!({"headers": {"Host": "x"}})), "headers.host");
    assert_eq!(field(json!({"headers": {"Webhook-Id": "x"}})), "headers.webhook-id");
    assert_eq!(field(json!({"schedule": "slow"})), "schedule");
    assert_eq!(field(json!({"rate_limit": 0})), "rate_limit");
    assert_eq!(field(json!({"description": "a\u{0}b"})), "description");
    assert_eq!(field(json!({"workfront": {}, "topics": ["TASK.*"]})), "topics");
    assert_eq!(field(json!({"workfront": {"obj_id": ""}})), "workfront.obj_id");
    let bad = json!([{"fieldName": "name", "fieldValue": 1, "comparison": "equals"}]);
    assert_eq!(field(json!({"filters": bad})), "filters[0].comparison");
}

#[test]
fn a_request_is_authorized_in_one_way() {
    let basic = |username| json!({"basic": {"username": username, "password": "p"}});
    let built = |changes| build(&changes).map(drop).map_err(|error| error.to_string());
    assert_eq!(built(json!({"authentication": basic("u")})), Ok(()));
    insta::assert_snapshot!(built(json!({"authentication": basic("u:")})).unwrap_err(), @"`authentication.basic.username`: a user name has no colon: it ends there");
    insta::assert_snapshot!(built(json!({"authentication": basic("u"), "auth_token": "t"})).unwrap_err(), @"`authentication`: set either this field or `auth_token`: both are sent in `Authorization`");
    let header = json!({"authorization": "Basic eDp5"});
    insta::assert_snapshot!(built(json!({"authentication": basic("u"), "headers": header})).unwrap_err(), @"`headers.authorization`: set either this header or `authentication`");
}

#[test]
fn headers_that_would_not_be_sent_as_given_are_refused() {
    let refused = |headers| build(&json!({"headers": headers})).unwrap_err().to_string();
    let twice = "`headers.x-team`: is given twice: case makes no difference";
    assert_eq!(refused(json!({"X-Team": "a", "x-team": "b"})), twice);
    for name in ["Content-Length", "TRACEPARENT", "Host", "transfer-encoding"] {
        assert!(refused(json!({name: "1"})).contains("homing"), "{name}");
    }
}

#[test]
fn blanks_around_values_are_no_part_of_them() {
    let spec = build(&json!({"auth_token": " t0ken\t", "headers": {"x-a": " a b "}})).unwrap();
    assert_eq!(spec.auth_token.unwrap().reveal(), "t0ken");
    assert_eq!(spec.headers["x-a"], "a b");
    assert_eq!(only(build(&json!({"auth_token": "  "}))).field, "auth_token");
}

#[test]
fn old_state_is_refused_where_there_is_none() {
    let filters = json!([{
        "fieldName": "name", "fieldValue": "x", "comparison": "eq", "state": "oldState",
    }]);
    let error = only(build(&json!({"topics": ["PROJ.CREATE"], "filters": filters})));
    assert_eq!(error.field, "filters[0].state");
    assert!(build(&json!({"filters": filters})).is_ok());
}

#[test]
fn the_same_events_of_another_object_are_another_subscription() {
    let fingerprint = |form| build(&json!({"workfront": form})).unwrap().fingerprint();
    let one = fingerprint(json!({"obj_id": "a"}));
    assert_ne!(one, fingerprint(json!({"obj_id": "b"})));
    assert_ne!(one, fingerprint(json!({})));
    assert_ne!(one, fingerprint(Value::Null));
    assert_eq!(one, fingerprint(json!({"obj_id": "a", "version": "v1"})));
}

#[test]
fn in_workfronts_form_any_field_of_its_api_makes_another_subscription() {
    let base = json!({
        "workfront": {}, "auth_token": "a", "topics": ["TASK.UPDATE"],
        "filters": [{"fieldName": "a", "comparison": "changed"}],
    });
    let with = |changes: Value| {
        let mut draft = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            draft[name] = value.clone();
        }
        build(&draft).unwrap().secret_fingerprint().unwrap()
    };
    let one = with(json!({}));
    for changes in [
        json!({"auth_token": "b"}),
        json!({"workfront": {"base64_encoding": true}}),
        json!({"workfront": {"obj_id": "a"}}),
        json!({"filter_connector": "OR"}),
        json!({"filters": []}),
        json!({"url": "https://example.com/other"}),
    ] {
        assert_ne!(one, with(changes.clone()), "{changes}");
    }
    let of_homing = json!({"description": "x", "headers": {"a": "b"}, "rate_limit": 1});
    assert_eq!(one, with(of_homing));
    assert_eq!(one, with(json!({"workfront": {"version": "v1"}})));
    assert_eq!(build(&json!({})).unwrap().secret_fingerprint(), None);
}

#[test]
fn the_order_of_topics_does_not_matter() {
    let one = build(&json!({"topics": ["a", "b"]})).unwrap();
    let other = build(&json!({"topics": ["b", "a"], "description": "other"})).unwrap();
    assert_eq!(one.fingerprint(), other.fingerprint());
}
