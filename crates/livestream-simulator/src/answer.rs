//! The HTTP side: the token service, the stream and its refusals, and URLs for control.

use std::{fmt::Display, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, LOCATION},
};
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded;

use super::{Connect, Refusal, Simulator, State, stream};

type Response = hyper::Response<UnsyncBoxBody<Bytes, io::Error>>;

/// The documented URL of the stream, which redirects.
const DOCUMENTED: &str = "/api/1/stream/";
const ELSEWHERE: &str = "/elsewhere/1/stream/";

const MAX_BODY_BYTES: usize = 16 * 1_024 * 1_024;
const MAX_CONNECTIONS: usize = 8;
const RESETS: [&str; 4] = ["smallest", "largest", "earliest", "latest"];

impl Simulator {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        let path = request.uri().path().to_owned();
        let get = request.method() == Method::GET;
        match (get, path.as_str()) {
            (true, path) if path.starts_with(DOCUMENTED) && self.behaviour.redirects => {
                redirect(&request, self.behaviour.redirects_to.as_deref())
            }
            (true, path) => {
                match [DOCUMENTED, ELSEWHERE].iter().find_map(|at| path.strip_prefix(at)) {
                    Some(name) => self.stream(name, &request),
                    None if path == "/simulate" => self.report(),
                    None => text(StatusCode::NOT_FOUND, "not found"),
                }
            }
            (false, "/ims/token/v3") => self.token(request).await,
            (false, "/simulate/drop") => {
                let connected = self.connected();
                self.drop_connections();
                text(StatusCode::OK, format!("{connected} dropped\n"))
            }
            (false, "/simulate/expire") => {
                self.expire_tokens();
                text(StatusCode::OK, "all tokens are invalid now\n")
            }
            (false, "/simulate/answer") => self.steer(&request),
            (false, "/simulate/send") => self.take_records(request).await,
            (false, _) => text(StatusCode::METHOD_NOT_ALLOWED, "GET it"),
        }
    }

    fn stream(&self, name: &str, request: &Request<Incoming>) -> Response {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let refused = self.refusal(name, request, &mut self.state.lock());
        let status = refused.as_ref().map_or(200, |refusal| refusal.status);
        self.state.lock().log(Connect { at: Instant::now(), status, query });
        if let Some(Refusal { status, body }) = refused {
            return text(StatusCode::from_u16(status).unwrap_or_default(), body);
        }
        let body = StreamBody::new(stream::body(self.clone()));
        let mut answer = Response::new(body.boxed_unsync());
        let json = hyper::header::HeaderValue::from_static("application/json");
        let gzip = hyper::header::HeaderValue::from_static("gzip");
        answer.headers_mut().extend([(CONTENT_TYPE, json), (CONTENT_ENCODING, gzip)]);
        answer
    }

    /// The reason for refusing this request, if there is one.
    fn refusal(
        &self,
        name: &str,
        request: &Request<Incoming>,
        state: &mut State,
    ) -> Option<Refusal> {
        let refuse = |status, body: &dyn Display| Some(Refusal { status, body: body.to_string() });
        if let Some(refusal) = state.refusals.pop_front() {
            return Some(refusal);
        }
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let token = header(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let Some(client) = token.and_then(|token| state.tokens.client(token)) else {
            return refuse(401, &"not authorized");
        };
        if request.headers().get("x-api-key").is_none_or(|key| key != client) {
            return refuse(403, &"x-api-key is not that of the token");
        }
        if header(ACCEPT_ENCODING).is_none_or(|accepted| !accepted.contains("gzip")) {
            return refuse(406, &"gzip only");
        }
        if name != self.behaviour.stream {
            return refuse(404, &format_args!("there is no stream `{name}`"));
        }
        let mut connections = Ok(1);
        let query = request.uri().query().unwrap_or_default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if key == "maxConnections" {
                connections = value.parse();
            }
            if key == "reset" && !RESETS.contains(&value.as_ref()) {
                return refuse(400, &"reset is smallest, largest, earliest or latest");
            }
        }
        let Some(connections) =
            connections.ok().filter(|count| (1..=MAX_CONNECTIONS).contains(count))
        else {
            return refuse(400, &"maxConnections is 1 to 8");
        };
        let counted = state.counted(Instant::now());
        (counted >= connections).then(|| {
            let description = format!("{counted} of {connections} connections are in use");
            let body = json!({"error": "conflict", "error_description": description});
            Refusal { status: 409, body: body.to_string() }
        })
    }

    async fn token(&self, request: Request<Incoming>) -> Response {
        let Some(form) = read(request).await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "too large");
        };
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(&form);
            fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let (id, secret) = (field("client_id"), field("client_secret"));
        let Some(id) =
            id.filter(|id| !id.is_empty() && secret.is_some_and(|text| !text.is_empty()))
        else {
            let error = json!({"error": "invalid_client", "error_description": "who are you?"});
            return document(StatusCode::BAD_REQUEST, &error);
        };
        if field("grant_type").as_deref() != Some("client_credentials") {
            return document(StatusCode::BAD_REQUEST, &json!({"error": "unsupported_grant_type"}));
        }
        let lifetime = self.real(self.behaviour.token_lifetime);
        let token = self.state.lock().tokens.give(&id, lifetime);
        let seconds = lifetime.as_secs().max(1);
        let answer = json!({"access_token": token, "token_type": "bearer", "expires_in": seconds});
        document(StatusCode::OK, &answer)
    }

    fn report(&self) -> Response {
        let mut state = self.state.lock();
        let counted = state.counted(Instant::now());
        let report = json!({
            "connected": state.connected,
            "counted": counted,
            "sent": state.sent,
            "tokens_given": state.tokens.given(),
            "answers_to_come": state.refusals.len(),
            "connects": state.connects.iter().map(|connect| connect.status).collect::<Vec<_>>(),
        });
        document(StatusCode::OK, &report)
    }

    /// `?status=503&times=3`
    fn steer(&self, request: &Request<Incoming>) -> Response {
        let (mut status, mut times) = (None, Some(1));
        let query = request.uri().query().unwrap_or_default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if key == "status" {
                status = value.parse().ok().filter(|status| (200..600).contains(status));
            } else if key == "times" {
                times = value.parse().ok().filter(|times| *times <= 1_000);
            }
        }
        let (Some(status), Some(times)) = (status, times) else {
            return text(StatusCode::BAD_REQUEST, "write it as ?status=503&times=3\n");
        };
        let body = json!({"error_description": "as you wish"}).to_string();
        self.refuse(&Refusal { status, body }, times);
        text(StatusCode::OK, format!("the next {times} connects are answered with {status}\n"))
    }

    /// Takes a record from every line.
    async fn take_records(&self, request: Request<Incoming>) -> Response {
        let Some(body) = read(request).await else {
            return text(StatusCode::PAYLOAD_TOO_LARGE, "at most 16 MiB at once\n");
        };
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let records: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        for record in &records {
            self.send(Bytes::copy_from_slice(record));
        }
        text(StatusCode::OK, format!("{} records\n", records.len()))
    }
}

async fn read(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
    body.ok().map(http_body_util::Collected::to_bytes)
}

/// Leads `to` there, or to another path of the same host. Keeps the query.
fn redirect(request: &Request<Incoming>, to: Option<&str>) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path().replacen(DOCUMENTED, ELSEWHERE, 1);
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = text(StatusCode::FOUND, "elsewhere");
    let target = to.map_or_else(|| format!("http://{host}{path}"), str::to_owned);
    if let Ok(location) = format!("{target}{query}").parse() {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer
}

fn document(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut answer = text(status, value.to_string());
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
