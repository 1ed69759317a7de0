//! Parameters are typed: a wrong value is refused with the parameter and what it can be, and an unknown
//! parameter by its name.

use reqwest::Method;
use serde_json::Value;

use super::{Answer, Running, start};
use crate::support::contract;

const ID: &str = "01931f5a-9c4e-7000-8000-0123456789ab";
const BODY: &str = "{}";

/// All operations that need a token: method, address with values in it, and description.
async fn guarded(api: &Running) -> Vec<(Method, String, Value)> {
    api.get("/healthz").await.expect(200);
    let mut found = Vec::new();
    let paths = contract::document()["paths"].as_object().expect("addresses");
    for (path, methods) in paths {
        for (method, described) in methods.as_object().expect("operations") {
            if described["security"].is_array() {
                let method = method.to_uppercase().parse().expect("a method");
                let path = path.replace("{id}", ID).replace("{name}", "main");
                found.push((method, path, described.clone()));
            }
        }
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

async fn ask(api: &Running, method: &Method, path: &str) -> Answer {
    let with = |request: reqwest::RequestBuilder| match *method {
        Method::GET | Method::DELETE => request,
        _ => request.header("content-type", "application/json").body(BODY),
    };
    api.answer(method.clone(), path, with).await
}

#[tokio::test]
async fn every_operation_refuses_an_unknown_parameter_by_its_name() {
    let api = start().await;
    for (method, path, _) in guarded(&api).await {
        let answer = ask(&api, &method, &format!("{path}?nonsense=1")).await;
        assert_eq!(answer.field(), "nonsense", "{method} {path}");
        assert!(answer.body.to_string().contains("no such parameter"), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_the_parameter_and_what_it_can_be() {
    let api = start().await;
    let (mut words, mut instants) = (0, 0);
    for (method, path, described) in guarded(&api).await {
        let parameters = described["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            let schema = &parameter["schema"];
            let possible: Vec<_> = schema["enum"].as_array().into_iter().flatten().collect();
            let is_instant = schema["format"] == "date-time";
            if possible.is_empty() && !is_instant {
                continue;
            }
            let answer = ask(&api, &method, &format!("{path}?{name}=nonsense")).await;
            assert_eq!(answer.field(), name, "{method} {path}");
            let message = answer.body["errors"][0]["message"].as_str().expect("a message");
            for word in possible.iter().filter_map(|word| word.as_str()) {
                assert!(message.contains(word), "{method} {path} {name}: {word} in {message}");
            }
            assert!(!is_instant || message.contains("2026-01-31T12:00:00Z"), "{message}");
            words += usize::from(!possible.is_empty());
            instants += usize::from(is_instant);
        }
    }
    assert!(words >= 7 && instants >= 14, "{words} {instants}");
}

/// Goal: clients of earlier versions, which sent milliseconds, are still understood.
#[tokio::test]
async fn instants_are_read_in_iso_8601_and_under_their_former_names() {
    let api = start().await;
    for path in ["attempts", "deliveries", "events", "audit", "history"] {
        for query in [
            "since=2026-01-31T12:00:00Z&until=2026-01-31T14:00:00%2B01:00",
            "since=1769860800000",
            "since_ms=1769860800000&until_ms=1769864400000",
        ] {
            api.get(&format!("/v1/{path}?{query}")).await.expect(200);
        }
    }
    let unknown = api.get("/v1/attempts?page=1").await;
    assert!(!unknown.body.to_string().contains("_ms"), "{}", unknown.body);
}
