//! The description of the API for programs. It is built from the descriptions beside the handlers;
//! what all addresses have in common is added here.
//!
//! Source: OpenAPI Specification 3.1.

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
        ResponseBuilder,
        path::{Operation, Parameter, ParameterIn, PathItem},
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
        tag::TagBuilder,
    },
};

use crate::{
    api::requests::auth::WORKFRONT,
    web::problem::{Document, PROBLEM},
};

/// The groups of addresses, in the order in which they are shown.
pub(super) const TAGS: [(&str, &str); 14] = [
    ("events", "Publishing events, and their timelines"),
    ("subscriptions", "Topics and filters of endpoints"),
    ("endpoints", "The circuits of URLs"),
    ("attempts", "Deliveries and their attempts"),
    ("audit", "Who changed what"),
    ("ledger", "What was delivered, by the hour"),
    ("parked", "Deliveries and events that were given up"),
    ("replays", "Events of the archive that are sent again"),
    ("queues", "Queues and their depths"),
    ("status", "Overview of the pool"),
    ("sources", "Streams that homing reads"),
    ("tokens", "Tokens of clients of this API"),
    ("workfront", "Subscriptions in the form of Adobe Workfront's API"),
    ("health", "Monitoring and documentation"),
];

const ABOUT: &str = "Durable webhook delivery on RabbitMQ. Errors are problem documents (RFC 9457) \
                     whose `errors` name the fields and parameters at fault, and what they can be; \
                     unknown ones are refused. Lists come in pages: `next` of one is `after` of the \
                     following one. Instants are in ISO 8601.";

/// The description of all addresses: those that need a token, `guarded`, and those that are `open`.
pub(super) fn described(open: OpenApi, guarded: OpenApi) -> OpenApi {
    let mut document = guarded;
    for (path, item) in &mut document.paths.paths {
        each(item, |operation| guard(path, operation));
    }
    document.merge(open);
    for item in document.paths.paths.values_mut() {
        each(item, add_problems);
    }
    let info = InfoBuilder::new()
        .title("homing")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT));
    let tags = TAGS
        .iter()
        .filter(|(name, _)| cfg!(feature = "workfront") || *name != "workfront")
        .map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)));
    let mut components = document.components.unwrap_or_default();
    add_security(&mut components);
    let mut schemas = vec![(Document::name().into_owned(), Document::schema())];
    Document::schemas(&mut schemas);
    components.schemas.extend(schemas);
    OpenApiBuilder::new()
        .info(info.build())
        .paths(document.paths)
        .components(Some(components))
        .tags(Some(tags.map(TagBuilder::build)))
        .build()
}

/// The operations of a document: method, address, and the operation.
pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object_mut().into_iter().flatten();
        methods.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

fn each(item: &mut PathItem, mut change: impl FnMut(&mut Operation)) {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten().for_each(&mut change);
}

fn add_security(components: &mut Components) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API token; `homing tokens create` adds one"));
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    let session = ApiKey::Header(ApiKeyValue::new("sessionID"));
    components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    let user_token = ApiKey::Header(ApiKeyValue::new("X-User-Token"));
    components.add_security_scheme("userToken", SecurityScheme::ApiKey(user_token));
}

fn guard(path: &str, operation: &mut Operation) {
    let none: [&str; 0] = [];
    let mut requirements = vec![SecurityRequirement::new("token", none)];
    if path.starts_with(WORKFRONT) {
        requirements.push(SecurityRequirement::new("session", none));
        requirements.push(SecurityRequirement::new("userToken", none));
    }
    operation.security = Some(requirements);
}

/// The problems that every operation may answer with, but for those of tokens where none is needed.
pub(super) const COMMON_PROBLEMS: [(u16, &str); 6] = [
    (400, "A field, parameter or header is wrong"),
    (401, "The API token is missing or unknown"),
    (403, "The token, or the origin of the request, does not allow this"),
    (429, "Too many wrong tokens came from the same address"),
    (500, "homing failed; its log says why"),
    (503, "The broker or the store is unavailable, or there was no answer in time"),
];
/// Those of operations that take a body.
const PROBLEMS_OF_BODIES: [(u16, &str); 3] = [
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (415, "The body is in an unsupported form"),
];
const MISSING: (u16, &str) = (404, "It does not exist");

/// The problems that every address of its kind may answer with.
fn add_problems(operation: &mut Operation) {
    let is_guarded = operation.security.is_some();
    let is_of_tokens = |status: u16| matches!(status, 401 | 403 | 429);
    let common = COMMON_PROBLEMS.into_iter();
    let common = common.filter(|(status, _)| is_guarded || !is_of_tokens(*status));
    let mut problems: Vec<_> = common.collect();
    let parameters = operation.parameters.iter().flatten();
    let in_path = |one: &RefOr<Parameter>| matches!(one, RefOr::T(one) if one.parameter_in == ParameterIn::Path);
    if parameters.into_iter().any(in_path) {
        problems.push(MISSING);
    }
    if operation.request_body.is_some() {
        problems.extend(PROBLEMS_OF_BODIES);
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in problems {
        let response = ResponseBuilder::new().description(description);
        responses.entry(status.to_string()).or_insert_with(|| response.build().into());
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| *status >= &"400".to_owned()) {
        let RefOr::T(response) = response else { continue };
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
        response.content.insert(PROBLEM.to_owned(), content.build().into());
    }
}
