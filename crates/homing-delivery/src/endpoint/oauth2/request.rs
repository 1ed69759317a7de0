//! A token request, and what is read of its answer.
//!
//! Source: RFC 6749, 2.3.1 (client password), 4.4.2 and 5 (request, answers); RFC 6750, 2.1 (the
//! characters of a token).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use crate::endpoint::{client::BoxError, request::AGENT, retry_after, secrets::Secrets};
use homing_domain::{
    clock,
    subscription::{OAuth2Credentials, TokenEndpointAuthMethod},
    url::EndpointUrl,
};

/// The lifetime of a token whose answer has no `expires_in`: an endpoint that refuses it has it
/// renewed in any case.
const LIFETIME_DEFAULT: Duration = Duration::from_hours(1);
const LONGEST_LIFETIME: Duration = Duration::from_hours(24 * 30);
/// Servers take headers of 8 kB at least, and often no larger ones.
const MAX_TOKEN_BYTES: usize = 16 * 1_024;
const MAX_DESCRIPTION_CHARS: usize = 200;

/// A token that was obtained.
pub(super) struct Obtained {
    /// A secret.
    pub(super) token: String,
    pub(super) left: Duration,
}

/// The reason why none was obtained.
#[derive(Debug)]
pub(super) struct NotObtained {
    /// The label of the metric.
    pub(super) result: &'static str,
    /// As text for operators; has no secrets.
    pub(super) what: String,
    pub(super) retry_after: Option<Duration>,
}

impl NotObtained {
    /// No request was made.
    pub(super) fn unsent(why: &str) -> Self {
        Self { result: "unsent", what: why.to_owned(), retry_after: None }
    }

    /// There was no answer.
    pub(super) fn unreachable(why: &str) -> Self {
        Self { result: "unreachable", what: why.to_owned(), retry_after: None }
    }

    fn unreadable(what: &str) -> Self {
        let what = format!("it answered 200 {what}");
        Self { result: "unreadable", what, retry_after: None }
    }
}

/// The request for a token.
pub(super) fn build(
    credentials: &OAuth2Credentials,
    url: &EndpointUrl,
) -> Result<Request<Full<Bytes>>, BoxError> {
    let OAuth2Credentials { client_id, client_secret, scope, audience, .. } = credentials;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", scope), ("audience", audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let is_post =
        credentials.token_endpoint_auth_method == TokenEndpointAuthMethod::ClientSecretPost;
    if is_post {
        form.append_pair("client_id", client_id).append_pair("client_secret", client_secret);
    }
    let mut request = Request::post(url.as_str()).body(Full::new(form.finish().into()))?;
    let headers = request.headers_mut();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, AGENT);
    if !is_post {
        let mut basic = HeaderValue::try_from(format!("Basic {}", basic(credentials)))?;
        basic.set_sensitive(true);
        headers.insert(AUTHORIZATION, basic);
    }
    Ok(request)
}

/// Id and secret in the header, a secret.
fn basic(credentials: &OAuth2Credentials) -> String {
    let OAuth2Credentials { client_id, client_secret, .. } = credentials;
    STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(client_secret)))
}

/// As a form has it.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Its answer; what does not belong to a token is ignored.
#[derive(Deserialize)]
struct TokenBody {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    token_type: Option<String>,
    /// A number; some servers write it as a text.
    #[serde(default)]
    expires_in: Value,
}

/// Its answer to a request that it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Option<String>,
    error_description: Option<String>,
}

/// Reads the answer to a token request.
pub(super) fn read(
    response: &Response<Bytes>,
    credentials: &OAuth2Credentials,
) -> Result<Obtained, NotObtained> {
    if response.status() != StatusCode::OK {
        return Err(refused(response, credentials));
    }
    let unreadable = |what: &str| Err(NotObtained::unreadable(what));
    let Ok(body) = serde_json::from_slice::<TokenBody>(response.body()) else {
        return unreadable("with something else than a JSON object with a token");
    };
    // One that is not named is taken for what most servers give.
    if body.token_type.is_some_and(|it| !it.eq_ignore_ascii_case("bearer")) {
        return unreadable("with a `token_type` other than `Bearer`");
    }
    let Some(token) = body.access_token.filter(|token| !token.is_empty()) else {
        return unreadable("without an `access_token`");
    };
    if token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return unreadable("with an `access_token` that no header can carry");
    }
    let Some(left) = lifetime(&body.expires_in) else {
        return unreadable("with an `expires_in` that is no number of seconds above 0");
    };
    Ok(Obtained { token, left: left.min(LONGEST_LIFETIME) })
}

fn lifetime(expires_in: &Value) -> Option<Duration> {
    let seconds = match expires_in {
        Value::Null => return Some(LIFETIME_DEFAULT),
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let lifetime = Duration::try_from_secs_f64(seconds).ok();
    // More than a duration has is very long.
    let lifetime = lifetime.or_else(|| (seconds > 0.0).then_some(LONGEST_LIFETIME));
    lifetime.filter(|lifetime| !lifetime.is_zero())
}

/// The reason in an answer that is no success: never all of it, because it may repeat secrets.
fn refused(response: &Response<Bytes>, credentials: &OAuth2Credentials) -> NotObtained {
    let status = response.status();
    let body: ErrorBody = serde_json::from_slice(response.body()).unwrap_or_default();
    let client_secret = &*credentials.client_secret;
    let secrets = Secrets::of_texts([client_secret, &encoded(client_secret), &basic(credentials)]);
    let shown = |text: &str| {
        let text = secrets.masked_text(text.as_bytes());
        text.chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION_CHARS).collect::<String>()
    };
    let mut what = format!("it answered {}", status.as_u16());
    if let Some(error) = &body.error {
        what = format!("{what} `{}`", shown(error));
    }
    if let Some(description) = &body.error_description {
        what = format!("{what} ({})", shown(description));
    }
    if let Some(advice) = advice(status, body.error.as_deref()) {
        what.push_str("; ");
        what.push_str(advice);
    }
    let requested = response.headers().get(RETRY_AFTER);
    let retry_after = requested.and_then(|it| retry_after(it.as_bytes(), clock::now()));
    let result = if status.is_server_error() { "unreachable" } else { "refused" };
    NotObtained { result, what, retry_after }
}

/// Source: RFC 6749, 5.2.
fn advice(status: StatusCode, error: Option<&str>) -> Option<&'static str> {
    match error {
        Some("invalid_client") => Some(
            "check `client_id`, `client_secret` and `token_endpoint_auth_method` in \
             `authentication.oauth2`",
        ),
        Some("invalid_scope") => Some("check `authentication.oauth2.scope`"),
        Some("unauthorized_client" | "unsupported_grant_type") => {
            Some("the server has to allow this client the grant `client_credentials`")
        }
        Some("invalid_target" | "invalid_request") => {
            Some("check `authentication.oauth2.audience` and `scope`")
        }
        _ if status.is_redirection() => {
            Some("redirects are not followed; `token_url` has to be the URL that it ends at")
        }
        _ if status == StatusCode::NOT_FOUND => Some("check `authentication.oauth2.token_url`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    fn credentials(changes: &Value) -> OAuth2Credentials {
        let mut given = json!({
            "token_url": "https://auth.example.com/token?tenant=7", "client_id": "a b:c",
            "client_secret": "pass%word+ü",
        });
        for (name, value) in changes.as_object().unwrap() {
            given[name] = value.clone();
        }
        serde_json::from_value(given).unwrap()
    }

    async fn built(changes: &Value) -> (Option<String>, String) {
        let credentials = credentials(changes);
        let request = build(&credentials, &credentials.token_endpoint().unwrap()).unwrap();
        assert_eq!(request.uri(), "https://auth.example.com/token?tenant=7");
        let header = request.headers().get(AUTHORIZATION);
        let header = header.map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_client_authenticates_itself_in_the_header_or_in_the_body() {
        let (header, body) = built(&json!({"scope": "a b"})).await;
        // Encoded as a form, then as Basic: RFC 6749, 2.3.1.
        let pair = STANDARD.encode("a+b%3Ac:pass%25word%2B%C3%BC");
        assert_eq!(header, Some(format!("Basic {pair}")));
        assert_eq!(body, "grant_type=client_credentials&scope=a+b");
        let post = json!({
            "token_endpoint_auth_method": "client_secret_post", "audience": "https://api.example/",
        });
        let (header, body) = built(&post).await;
        assert_eq!(header, None);
        insta::assert_snapshot!(body, @"grant_type=client_credentials&audience=https%3A%2F%2Fapi.example%2F&client_id=a+b%3Ac&client_secret=pass%25word%2B%C3%BC");
    }

    fn answered(status: u16, body: &str) -> Result<(String, u64), String> {
        let response = Response::builder().status(status).body(Bytes::from(body.to_owned()));
        let read = read(&response.unwrap(), &credentials(&json!({})));
        read.map(|it| (it.token, it.left.as_secs())).map_err(|error| error.what)
    }

    #[test]
    fn a_token_is_read_however_its_lifetime_is_written() {
        for (expires, seconds) in [
            ("", 3_600),
            (r#","expires_in":300"#, 300),
            (r#","expires_in":"300""#, 300),
            (r#","expires_in":300.9"#, 300),
            (r#","expires_in":1e30"#, 30 * 86_400),
            (r#","expires_in":null"#, 3_600),
        ] {
            let body = format!(r#"{{"access_token":"abc","token_type":"bearer"{expires},"x":1}}"#);
            assert_eq!(answered(200, &body), Ok(("abc".to_owned(), seconds)), "{expires}");
        }
        assert!(answered(200, r#"{"access_token":"abc"}"#).is_ok());
    }

    #[test]
    fn what_is_no_token_is_described_without_what_came() {
        let bodies = [
            "<html>secret</html>",
            "[]",
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"secret","token_type":"mac"}"#,
            r#"{"access_token":"sec\nret"}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":"secret","expires_in":0}"#,
            r#"{"access_token":"secret","expires_in":"soon"}"#,
            r#"{"access_token":"secret","expires_in":-1}"#,
        ];
        let said: Vec<_> = bodies.iter().map(|body| answered(200, body).unwrap_err()).collect();
        let said = said.join("\n");
        assert!(!said.contains("secret"), "{said}");
        insta::assert_snapshot!(said, @"
        it answered 200 with something else than a JSON object with a token
        it answered 200 without an `access_token`
        it answered 200 without an `access_token`
        it answered 200 without an `access_token`
        it answered 200 with a `token_type` other than `Bearer`
        it answered 200 with an `access_token` that no header can carry
        it answered 200 with something else than a JSON object with a token
        it answered 200 with an `expires_in` that is no number of seconds above 0
        it answered 200 with an `expires_in` that is no number of seconds above 0
        it answered 200 with an `expires_in` that is no number of seconds above 0
        ");
    }

    /// Goal: a server that repeats what it was sent does not show the secret, in whatever form it was
    /// sent.
    #[test]
    fn the_secret_is_masked_as_it_is_sent() {
        let credentials = credentials(&json!({"client_secret": "open sesame"}));
        for sent in ["open sesame", "open+sesame", "open%20sesame", &basic(&credentials)] {
            let description = format!("no client `{sent}`");
            let body = json!({"error": "invalid_client", "error_description": description});
            let response = Response::builder().status(401).body(Bytes::from(body.to_string()));
            let what = read(&response.unwrap(), &credentials).err().unwrap().what;
            assert!(what.contains("(no client `****`)"), "{what}");
        }
    }

    #[test]
    fn the_reason_of_a_refusal_is_named_and_has_no_secret() {
        let echo = r#"{"error":"invalid_client","error_description":"pass%word+ü is\u0007 wrong"}"#;
        let cases = [
            (401, echo),
            (400, r#"{"error":"invalid_scope"}"#),
            (400, r#"{"error":"unauthorized_client"}"#),
            (302, ""),
            (404, "nothing"),
            (503, "<html>"),
        ];
        let said: Vec<_> =
            cases.iter().map(|(status, body)| answered(*status, body).unwrap_err()).collect();
        insta::assert_snapshot!(said.join("\n"), @"
        it answered 401 `invalid_client` (**** is wrong); check `client_id`, `client_secret` and `token_endpoint_auth_method` in `authentication.oauth2`
        it answered 400 `invalid_scope`; check `authentication.oauth2.scope`
        it answered 400 `unauthorized_client`; the server has to allow this client the grant `client_credentials`
        it answered 302; redirects are not followed; `token_url` has to be the URL that it ends at
        it answered 404; check `authentication.oauth2.token_url`
        it answered 503
        ");
    }
}
