//! `/openapi.json` and `/docs`: what the API can do, for programs and for readers.
//!
//! [`openapi`] completes what is written beside the handlers, [`parameters`] what these have in
//! common, [`examples`] adds requests and answers, and [`docs`] makes a page of it.

mod docs;
mod examples;
mod openapi;
mod parameters;

use std::sync::LazyLock;

use axum::{
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    },
    response::IntoResponse,
};
use bytes::Bytes;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::resources;
use crate::web::AppState;

static DOCUMENT: LazyLock<Value> = LazyLock::new(described);
/// Serialized once, because the address is open to everyone.
static TEXT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec(&*DOCUMENT).unwrap_or_default().into());
static PAGE: LazyLock<(String, String)> = LazyLock::new(|| (docs::html(&DOCUMENT), docs::policy()));

/// The routes of the description; they need no token.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(document)).routes(routes!(page))
}

fn described() -> Value {
    let guarded = resources::quick().merge(resources::publishing()).merge(resources::batching());
    let guarded = guarded.merge(resources::reading()).merge(resources::scanning());
    let open = resources::open().merge(routes());
    let described = openapi::described(open.into_openapi(), guarded.into_openapi());
    let mut document = serde_json::to_value(described).unwrap_or_default();
    parameters::complete(&mut document);
    examples::add(&mut document);
    document
}

/// Get this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health", operation_id = "openapi",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = HashMap<String, serde_json::Value>)),
)]
async fn document() -> ([(HeaderName, &'static str); 1], Bytes) {
    ([(CONTENT_TYPE, "application/json")], TEXT.clone())
}

/// Get a page that describes this API.
#[utoipa::path(
    get, path = "/docs", tag = "health", operation_id = "docs",
    responses((status = 200, description = "HTML", body = String, content_type = "text/html")),
)]
async fn page() -> impl IntoResponse {
    let (html, policy) = &*PAGE;
    let headers: [(HeaderName, &str); 2] =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
    (headers, html.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every route is declared by `routes!`, and so has a description.
    #[test]
    fn every_route_has_a_description() {
        let code = include_str!("../resources/mod.rs");
        let (code, _former) = code.split_once("fn former()").unwrap();
        assert_eq!(code.matches(".route(").count(), 0);
        let (described, handlers) = (described(), code.matches("routes!(").count());
        let addresses = described["paths"].as_object().unwrap();
        assert_eq!(addresses.len(), handlers + 2, "one address in each");
    }

    #[test]
    fn every_operation_is_named_grouped_and_answered() {
        let document = described();
        let mut names = std::collections::BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let place = format!("{method} {path}");
                assert!(names.insert(operation["operationId"].as_str().unwrap()), "{place}");
                assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{place}");
                let tag = operation["tags"][0].as_str().unwrap();
                assert!(openapi::TAGS.iter().any(|(name, _)| *name == tag), "{place}: {tag}");
                let answers = operation["responses"].as_object().unwrap();
                assert!(answers.keys().any(|status| status.starts_with('2')), "{place}");
                let open =
                    matches!(path.as_str(), "/healthz" | "/readyz" | "/openapi.json" | "/docs");
                assert_eq!(operation["security"].is_array(), !open, "{place}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = described();
        let mut waiting = vec![&document];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(to) = members.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    }
                    waiting.extend(members.values());
                }
                Value::Array(items) => waiting.extend(items),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        assert_eq!(document["openapi"], "3.1.0");
    }
}
