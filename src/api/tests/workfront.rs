//! Requests and answers as Adobe publishes them.
//!
//! Source: Adobe Workfront, *Event subscription API*, the examples. Ids and dates are homing's own,
//! and fields that the published answers have not been given yet are left out of what is compared.

use axum::{
    body::Body,
    http::{HeaderValue, Method, header},
};
use serde_json::{Map, Value, json};

use super::{Answer, TOKEN, Unconnected, request};
use homing_domain::{time::UnixMillis, url::EndpointUrl};
use homing_store::Intervention;

const SUBSCRIPTIONS: &str = "/attask/eventsubscription/api/v1/subscriptions";

const CUSTOMER: &str = "504f9640000013401be513579fbebffa";

fn published() -> Value {
    json!({
        "objCode": "PROJ",
        "eventType": "UPDATE",
        "url": "http://requestb.in/ua5hi2ua",
        "authToken": "EauthTokenWorkfrontRocks1234_",
    })
}

fn with(changes: &Value) -> Value {
    let mut wanted = published();
    for (key, value) in changes.as_object().unwrap() {
        wanted[key] = value.clone();
    }
    wanted
}

/// Makes a subscription; its id.
async fn make(api: &Unconnected, wanted: &Value) -> String {
    let made = api.post(SUBSCRIPTIONS, &wanted.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body["id"].as_str().unwrap().to_owned()
}

async fn send(api: &Unconnected, method: Method, path: &str, body: &Value) -> Answer {
    api.ask(request(method, path, Body::from(body.to_string()))).await
}

/// Those members of `body` that `expected` has.
fn of(body: &Value, expected: &Value) -> Value {
    let names = expected.as_object().unwrap().keys();
    names.map(|name| (name.clone(), body[name].clone())).collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn a_subscription_is_created_and_its_location_returned() {
    let api = Unconnected::new(&[]).await;
    let made = api.post(SUBSCRIPTIONS, &published().to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(made.body, json!({"id": id, "version": "v2"}), "and nothing else");
    let location = format!("http://localhost{SUBSCRIPTIONS}/{id}");
    assert_eq!(made.headers[header::LOCATION], location);

    // Behind a proxy that terminates TLS.
    let api = Unconnected::new(&[TOKEN]).await;
    let mut request = request(Method::POST, SUBSCRIPTIONS, Body::from(published().to_string()));
    for (name, value) in [("x-forwarded-proto", "https"), ("sessionID", TOKEN)] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("hooks.example.com"));
    let made = api.ask(request).await;
    let location = made.headers[header::LOCATION].to_str().unwrap();
    assert!(location.starts_with("https://hooks.example.com/attask/"), "{location}");
}

#[tokio::test]
async fn a_subscription_is_shown_with_its_token_masked() {
    let api = Unconnected::new(&[]).await;
    let id = make(&api, &published()).await;
    let shown = api.get(&format!("{SUBSCRIPTIONS}/{id}")).await;
    assert_eq!(shown.status, 200);
    let expected = json!({
        "id": id,
        "customerId": CUSTOMER,
        "objId": null,
        "objCode": "PROJ",
        "url": "http://requestb.in/ua5hi2ua",
        "eventType": "UPDATE",
        "authToken": "****234_",
        "version": "v2",
    });
    assert_eq!(of(&shown.body, &expected), expected);
    let url = &shown.body["subscription_url"];
    let expected = json!({
        "url": "http://requestb.in/ua5hi2ua", "successes": 0, "failures": 0,
        "disabled_at": null, "frozen_at": null,
    });
    assert_eq!(of(url, &expected), expected);
    for date in [&shown.body["date_created"], &shown.body["date_modified"], &url["date_created"]] {
        assert_is_date(date);
    }
    assert_eq!(shown.body["dateVersionUpdated"], Value::Null);

    let short = make(&api, &with(&json!({"authToken": "12345678", "objId": "x"}))).await;
    let shown = api.get(&format!("{SUBSCRIPTIONS}/{short}")).await;
    assert_eq!((&shown.body["authToken"], &shown.body["objId"]), (&json!("****"), &json!("x")));
}

/// Published: `2024-04-11T17:10:10.305981`.
fn assert_is_date(date: &Value) {
    let text = date.as_str().unwrap();
    let parsed: Result<jiff::civil::DateTime, _> = text.parse();
    assert!(parsed.is_ok() && text.len() == 26 && !text.ends_with('Z'), "{text}");
}

#[tokio::test]
async fn all_are_listed_at_once_in_snake_case() {
    let api = Unconnected::new(&[]).await;
    let plain = json!({"url": "https://example.com", "topics": ["PROJ.UPDATE"]}).to_string();
    assert_eq!(api.post("/v1/subscriptions", &plain).await.status, 201);
    let first = make(&api, &with(&json!({"objCode": "TASK", "objId": "ObjId1234"}))).await;
    let second = make(&api, &published()).await;
    let all = api.get(&format!("{SUBSCRIPTIONS}/list")).await;
    assert_eq!(all.status, 200, "{}", all.body);
    let expected = [
        json!({
            "id": first, "customer_id": CUSTOMER, "obj_id": "ObjId1234", "obj_code": "TASK",
            "url": "http://requestb.in/ua5hi2ua", "event_type": "UPDATE", "auth_token": "****234_",
        }),
        json!({
            "id": second, "customer_id": CUSTOMER, "obj_id": null, "obj_code": "PROJ",
            "url": "http://requestb.in/ua5hi2ua", "event_type": "UPDATE", "auth_token": "****234_",
        }),
    ];
    let listed = all.body.as_array().unwrap();
    assert_eq!(listed.len(), 2, "and none that was made elsewhere");
    for (one, expected) in listed.iter().zip(&expected) {
        assert_eq!(of(one, expected), *expected);
        assert_is_date(&one["date_created"]);
    }
    assert_eq!(api.get(&format!("{SUBSCRIPTIONS}/list?page=1")).await.status, 400);
}

#[tokio::test]
async fn the_circuit_of_its_url_is_shown() {
    let api = Unconnected::new(&[]).await;
    let id = make(&api, &published()).await;
    let url: EndpointUrl = "http://requestb.in/ua5hi2ua".parse().unwrap();
    let now = UnixMillis::new(1_700_000_000_000);
    api.store.set_circuit(&url, Intervention::Disable, now).await.unwrap();
    let shown = api.get(&format!("{SUBSCRIPTIONS}/{id}")).await;
    let circuit = &shown.body["subscription_url"];
    assert!(circuit["frozen_at"].as_str().unwrap().starts_with("2023-11-14T22:13:20."));
    assert_eq!(circuit["disabled_at"], Value::Null);
}

#[tokio::test]
async fn all_are_listed_by_page() {
    let api = Unconnected::new(&[]).await;
    let plain = json!({"url": "https://example.com", "topics": ["PROJ.UPDATE"]}).to_string();
    assert_eq!(api.post("/v1/subscriptions", &plain).await.status, 201);
    let mut ids = Vec::new();
    for object in 0..5 {
        ids.push(make(&api, &with(&json!({"objId": object.to_string()}))).await);
    }
    let listed = |answer: &Answer| {
        let all = answer.body["subscriptions"].as_array().unwrap().iter();
        all.map(|one| one["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = api.get(SUBSCRIPTIONS).await;
    assert_eq!(listed(&all), ids, "in order, and none that was made elsewhere");
    let meta = json!({"page": 1, "page_count": 1, "limit": 100, "total_count": 5});
    assert_eq!(all.body["meta"], meta);

    let last = api.get(&format!("{SUBSCRIPTIONS}?page=3&limit=2")).await;
    assert_eq!(listed(&last), ids[4..]);
    let meta = json!({"page": 3, "page_count": 3, "limit": 2, "total_count": 5});
    assert_eq!(last.body["meta"], meta);
    let behind = api.get(&format!("{SUBSCRIPTIONS}?page=4&limit=2")).await;
    assert_eq!(behind.body["subscriptions"], json!([]));
    for query in ["limit=1001", "limit=0", "page=0", "page=x"] {
        assert_eq!(api.get(&format!("{SUBSCRIPTIONS}?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn filters_and_base64_encoding_are_asked_for_as_published() {
    let api = Unconnected::new(&[]).await;
    // The published example of filters has no comparison, which means equality.
    let wanted = json!({
        "objCode": "OPTASK",
        "filters": [
            {"fieldName": "projectID", "fieldValue": "5db1e0ec007696247fcf2290ecf8a339"},
            {"fieldName": "parameterValues", "fieldValue": {"DE: customField": "customValue"}},
        ],
        "filterConnector": "OR",
        "base64Encoding": "true",
    });
    let id = make(&api, &with(&wanted)).await;
    let shown = api.get(&format!("{SUBSCRIPTIONS}/{id}")).await;
    assert_eq!(shown.body["filters"][0]["comparison"], "eq");
    assert_eq!(shown.body["filterConnector"], "OR");
    assert_eq!(shown.body["base64Encoding"], true);
    for (number, spelt) in [json!(false), json!("false"), json!(" "), json!("")].iter().enumerate()
    {
        let wanted = json!({"objId": number.to_string(), "base64Encoding": spelt});
        let id = make(&api, &with(&wanted)).await;
        let shown = api.get(&format!("{SUBSCRIPTIONS}/{id}")).await;
        assert_eq!(shown.body["base64Encoding"], false);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_made() {
    let api = Unconnected::new(&[]).await;
    for (changes, field) in [
        (json!({"url": "nowhere"}), "url"),
        (json!({"objCode": "proj"}), "objCode"),
        (json!({"eventType": "SHARE"}), "eventType"),
        (json!({"authToken": "x".repeat(255)}), "authToken"),
        (json!({"authToken": null}), "authToken"),
        (json!({"objId": "x".repeat(256)}), "objId"),
        (
            json!({"filters": [{"fieldName": "a", "fieldValue": 1, "comparison": "is"}]}),
            "filters[0].comparison",
        ),
        (
            json!({"objCode": "DOCU", "filters": [{"fieldName": "groups", "fieldValue": "a"}]}),
            "filters[0].fieldName",
        ),
        (json!({"filterConnector": "XOR"}), "filterConnector"),
        (json!({"base64Encoding": "perhaps"}), "base64Encoding"),
        (json!({"colour": 1}), "colour"),
    ] {
        let answer = api.post(SUBSCRIPTIONS, &with(&changes).to_string()).await;
        assert_eq!(answer.status, 400, "{changes}");
        assert_eq!(answer.fields(), [field], "{}", answer.body);
    }
    assert_eq!(api.get(SUBSCRIPTIONS).await.body["meta"]["total_count"], 0);
    let old = json!({"fieldName": "a", "fieldValue": 1, "comparison": "eq", "state": "oldState"});
    let answer = api
        .post(SUBSCRIPTIONS, &with(&json!({"eventType": "CREATE", "filters": [old]})).to_string())
        .await;
    assert_eq!(answer.fields(), ["filters[0].state"]);
}

#[tokio::test]
async fn the_same_subscription_is_made_once_and_removed_once() {
    let api = Unconnected::new(&[]).await;
    let id = make(&api, &published()).await;
    let again = api.post(SUBSCRIPTIONS, &published().to_string()).await;
    assert_eq!((again.status.as_u16(), &again.body["existing"]), (409, &json!(id)));

    let path = format!("{SUBSCRIPTIONS}/{id}");
    let removed = api.ask(request(Method::DELETE, &path, Body::empty())).await;
    assert_eq!((removed.status.as_u16(), &removed.body), (200, &Value::Null));
    assert_eq!(api.ask(request(Method::DELETE, &path, Body::empty())).await.status, 404);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.get(&format!("{SUBSCRIPTIONS}/nothing")).await.status, 404);
}

#[tokio::test]
async fn subscriptions_that_differ_in_any_field_are_different() {
    let api = Unconnected::new(&[]).await;
    make(&api, &published()).await;
    let filters = json!([{"fieldName": "name", "fieldValue": "again"}]);
    for changes in [
        json!({"authToken": "another"}),
        json!({"base64Encoding": true}),
        json!({"base64Encoding": true, "authToken": "another"}),
        json!({"filterConnector": "OR"}),
        json!({"filters": filters}),
        json!({"filters": filters, "filterConnector": "OR"}),
        json!({"objId": "x"}),
        json!({"eventType": "DELETE"}),
    ] {
        make(&api, &with(&changes)).await;
        let again = api.post(SUBSCRIPTIONS, &with(&changes).to_string()).await;
        assert_eq!(again.status, 409, "{changes}");
    }
    // One that was changed to the other version is the same still.
    let all = json!({"allCustomerSubscriptions": true, "version": "v1"});
    send(&api, Method::PUT, &format!("{SUBSCRIPTIONS}/version"), &all).await;
    assert_eq!(api.post(SUBSCRIPTIONS, &published().to_string()).await.status, 409);
}

#[tokio::test]
async fn subscriptions_of_another_form_are_not_there() {
    let api = Unconnected::new(&[]).await;
    let plain = json!({"url": "https://example.com", "topics": ["PROJ.UPDATE"]}).to_string();
    let made = api.post("/v1/subscriptions", &plain).await;
    let path = format!("{SUBSCRIPTIONS}/{}", made.body["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.ask(request(Method::DELETE, &path, Body::empty())).await.status, 404);
    let version = json!({"version": "v1"});
    let answer = send(&api, Method::PUT, &format!("{path}/version"), &version).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn versions_are_set_one_several_and_all() {
    let api = Unconnected::new(&[]).await;
    let mut ids = Vec::new();
    for object in ["a", "b", "c"] {
        ids.push(make(&api, &with(&json!({"objId": object}))).await);
    }
    let put = async |path: &str, body: Value| {
        send(&api, Method::PUT, &format!("{SUBSCRIPTIONS}{path}"), &body).await
    };
    let one = put(&format!("/{}/version", ids[0]), json!({"version": "v1"})).await;
    assert_eq!((one.status.as_u16(), one.body), (200, json!({"id": ids[0], "version": "v1"})));
    assert_eq!(put(&format!("/{}/version", ids[0]), json!({"version": "v3"})).await.status, 400);
    let unknown_id = "01931f5a-9c4e-7000-8000-0123456789ab";
    let answer = put(&format!("/{unknown_id}/version"), json!({"version": "v1"})).await;
    assert_eq!(answer.status, 404);

    let some = json!({"subscriptionIds": ids[1..], "version": "v1"});
    let answer = put("/version", some).await;
    assert_eq!(answer.body, json!({"subscription_ids": ids[1..], "version": "v1"}));
    let version =
        async |id: &String| api.get(&format!("{SUBSCRIPTIONS}/{id}")).await.body["version"].clone();
    for id in &ids {
        assert_eq!(version(id).await, "v1");
    }
    let all = json!({"allCustomerSubscriptions": true, "version": "v2"});
    assert_eq!(put("/version", all).await.body, json!({"subscription_ids": ids, "version": "v2"}));
    assert_eq!(version(&ids[2]).await, "v2");

    let unknown = json!({"subscriptionIds": [ids[0], unknown_id], "version": "v1"});
    let answer = put("/version", unknown).await;
    assert_eq!((answer.status.as_u16(), answer.fields()), (400, vec!["subscriptionIds[1]"]));
    assert_eq!(version(&ids[0]).await, "v2", "nothing is changed");
    for id in &ids {
        let shown = api.get(&format!("{SUBSCRIPTIONS}/{id}")).await;
        assert_is_date(&shown.body["dateVersionUpdated"]);
    }
    assert_eq!(put("/version", json!({"version": "v1"})).await.fields(), ["subscriptionIds"]);
}

#[tokio::test]
async fn a_session_is_an_api_token() {
    let api = Unconnected::new(&[TOKEN]).await;
    let ask = async |session: &'static str| {
        let mut request = request(Method::GET, SUBSCRIPTIONS, Body::empty());
        request.headers_mut().insert("sessionID", HeaderValue::from_static(session));
        api.ask(request).await.status.as_u16()
    };
    assert_eq!(ask(TOKEN).await, 200);
    assert_eq!(ask("another-0123456789").await, 401);
    assert_eq!(ask("").await, 401);
    assert_eq!(api.get(SUBSCRIPTIONS).await.status, 401);

    let mut request = request(Method::GET, SUBSCRIPTIONS, Body::empty());
    request.headers_mut().insert("X-User-Token", HeaderValue::from_static(TOKEN));
    assert_eq!(api.ask(request).await.status, 200);
}

/// A change over homing's own API leaves the time of the version.
#[tokio::test]
async fn only_a_change_of_the_version_has_its_date() {
    let api = Unconnected::new(&[]).await;
    let id = make(&api, &published()).await;
    let patch = async |body: Value| {
        let path = format!("/v1/subscriptions/{id}");
        assert_eq!(send(&api, Method::PATCH, &path, &body).await.status, 200);
        api.get(&format!("{SUBSCRIPTIONS}/{id}")).await.body["dateVersionUpdated"].clone()
    };
    assert_eq!(patch(json!({"description": "a"})).await, Value::Null);
    let changed = patch(json!({"workfront": {"version": "v1"}})).await;
    assert_is_date(&changed);
    assert_eq!(patch(json!({"description": "b"})).await, changed);
}
