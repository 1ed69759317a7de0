//! Strict parsing of paths and bodies: unknown fields are refused by name.

use std::str::FromStr;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request, rejection::PathRejection},
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
        request::Parts,
    },
};
use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::distinct;
use crate::web::{
    problem::{Kind, Problem, json_problem},
    uploads::UploadError,
};
use homing_domain::{id::SubscriptionId, subscription::FieldError};

/// The subscription id in the path. Text that is no id is answered with 404.
pub(crate) struct IdInPath(pub(crate) SubscriptionId);

impl<S: Send + Sync> FromRequestParts<S> for IdInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let not_found = |error: String| Problem::new(Kind::NotFound, error);
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|error| not_found(error.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: <SubscriptionId as FromStr>::Err| not_found(error.to_string()))
    }
}

/// A name in the path.
pub(crate) struct NameInPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for NameInPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        let not_found = |error: PathRejection| Problem::new(Kind::NotFound, error.body_text());
        name.map(|Path(name)| Self(name)).map_err(not_found)
    }
}

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let bytes = json_bytes(request).await?;
        let value = from_json(&bytes)?;
        distinct::check(&bytes)?;
        Ok(Self(value))
    }
}

/// The JSON body of `request`.
pub(crate) async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    from_json(&json_bytes(request).await?)
}

async fn json_bytes(request: Request) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    check_is_json(&parts.headers)?;
    check_is_plain(&parts.headers)?;
    whole(body).await
}

fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return Ok(());
    }
    let detail = "send JSON, with the header `content-type: application/json`";
    Err(Problem::new(Kind::UnsupportedMedia, detail))
}

/// A document that homing parses must not be compressed.
fn check_is_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let plain =
        |value: &axum::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Ok(());
    }
    let detail = "this body must not be compressed; send it without `content-encoding`";
    Err(Problem::new(Kind::UnsupportedMedia, detail))
}

/// Reads a JSON object; an error names the field by its path, `filters[0].comparison`.
fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        let refuse = |_: IgnoredAny| Problem::field(FieldError::new("body", "not a JSON object"));
        return Err(
            serde_json::from_slice(bytes).map_or_else(|error| json_problem(".", &error), refuse)
        );
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, error.inner())
    })?;
    reader.end().map_err(|error| json_problem(".", &error))?;
    Ok(value)
}

/// The bytes of a body that was read before.
pub(crate) async fn whole(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, usize::MAX).await.map_err(|_error| UploadError::Broken.into())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use homing_domain::subscription::Draft;

    /// The field and the message of a problem.
    fn field(problem: &Problem) -> String {
        let [error] = problem.errors() else { panic!("{problem:?}") };
        format!("{}: {}", error.field, error.message)
    }

    fn draft(text: &str) -> String {
        field(&from_json::<Draft>(text.as_bytes()).unwrap_err())
    }

    /// Without the check, the last one would count.
    #[test]
    fn a_duplicate_name_is_refused_at_any_depth() {
        let twice = |text: &str| field(&distinct::check(text.as_bytes()).unwrap_err());
        insta::assert_snapshot!(twice(r#"{"headers":{"x-a":"1","x-\u0061":"2"}}"#), @"headers.x-a: duplicate field `x-a`");
        insta::assert_snapshot!(twice(r#"{"url":"a","filters":[{"a":1},{"b":[],"b":{}}]}"#), @"filters[1].b: duplicate field `b`");
        insta::assert_snapshot!(twice(r#"{"a":1,"a":1}"#), @"a: duplicate field `a`");
        assert!(distinct::check(br#"{"a":{"a":[{"a":1},{"a":1e9}]},"b":{"a":null}}"#).is_ok());
    }

    #[test]
    fn wrong_fields_of_a_body_are_named() {
        insta::assert_snapshot!(draft("{}"), @"url: missing field `url`");
        insta::assert_snapshot!(draft(r#"{"url": 1}"#), @"url: invalid type: integer `1`, expected a string");
        insta::assert_snapshot!(draft(r#"{"url": "u", "topic": []}"#), @"topic: unknown field `topic`, expected one of `url`, `topics`, `filters`, `filter_connector`, `auth_token`, `authentication`, `client_certificate`, `secrets`, `signature_scheme`, `headers`, `schedule`, `rate_limit`, `deadline`, `max_concurrency`, `description`, `owner`, `labels`, `workfront`, `format`, `verification`, `template`");
        insta::assert_snapshot!(draft(r#"{"url": "u", "topics": ["a", 2]}"#), @"topics[1]: invalid type: integer `2`, expected a string");
        insta::assert_snapshot!(draft(r#"{"url": "u", "url": "u"}"#), @"url: duplicate field `url`");
        insta::assert_snapshot!(draft(r#"{"url": "u", "filter_connector": "XOR"}"#), @"filter_connector: unknown variant `XOR`, expected `AND` or `OR`");
        insta::assert_snapshot!(draft(r#"{"url": "u", "headers": {"x": 1}}"#), @"headers.x: invalid type: integer `1`, expected a string");
        insta::assert_snapshot!(draft(r#"{"url": "u", "topics": [], "workfront": 1}"#), @"workfront: invalid type: integer `1`, expected an object");
        insta::assert_snapshot!(draft(r#"{"url": "u", "topics": [], "headers": []}"#), @"headers: invalid type: sequence, expected an object");
        insta::assert_snapshot!(draft("[]"), @"body: not a JSON object");
    }

    #[test]
    fn unknown_fields_of_nested_objects_have_a_path() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {}
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[expect(dead_code, reason = "only read")]
            inner: Inner,
        }
        let problem = from_json::<Outer>(br#"{"inner": {"a": 1}}"#).unwrap_err();
        assert_eq!(problem.errors()[0].field, "inner.a");
    }

    #[test]
    fn malformed_json_has_a_place() {
        let place = |text: &str| from_json::<Value>(text.as_bytes()).unwrap_err().to_json();
        let problem = place("{\"a\": 1,\n \"b\" 2}");
        assert_eq!(problem["line"], 2);
        assert_eq!(problem["column"], 6);
        assert_eq!(problem["type"], "urn:homing:problem:malformed");
        assert_eq!(place("")["line"], 1);
        assert_eq!(place("{} {}")["column"], 4);
        let deep = "[".repeat(100_000);
        assert_eq!(place(&deep)["status"], 400);
    }

    #[test]
    fn only_json_media_types_are_accepted() {
        let accepted = |value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            check_is_json(&headers).is_ok()
        };
        assert!(accepted("application/json"));
        assert!(accepted("Application/JSON; charset=utf-8"));
        assert!(accepted("application/merge-patch+json"));
        assert!(!accepted("text/plain"));
        assert!(!accepted("application/x-www-form-urlencoded"));
        assert!(check_is_json(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let packed = HeaderMap::from_iter([(CONTENT_ENCODING, "gzip".parse().unwrap())]);
        let problem = check_is_plain(&packed).unwrap_err();
        assert_eq!(problem.to_json()["status"], 415);
    }
}
