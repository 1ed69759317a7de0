//! `/v1/tokens`: the tokens with which clients of the API authenticate.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    api::requests::{
        extract::{JsonBody, NameInPath},
        query::NoParameters,
    },
    web::{
        AppState,
        acting::Acting,
        problem::{Kind, Problem},
    },
};
use homing_domain::{
    api_token::{ApiToken, Scope, TokenName},
    clock,
    subscription::FieldError,
};
use homing_store::{Store, StoreError};

/// A token without its text, which homing does not keep.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ApiToken)]
pub(crate) struct Shown {
    /// Its name, which is the actor in the audit.
    pub(crate) name: String,
    /// The permissions of its bearer.
    pub(crate) scope: Scope,
    /// The time of its creation; RFC 3339.
    pub(crate) created: String,
}

impl From<&ApiToken> for Shown {
    fn from(token: &ApiToken) -> Self {
        let ApiToken { name, scope, created, digest: _ } = token;
        Self { name: name.to_string(), scope: *scope, created: created.to_string() }
    }
}

/// All tokens of the store.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ApiTokens)]
pub(crate) struct List {
    /// By name.
    pub(crate) tokens: Vec<Shown>,
}

impl List {
    /// Reads them.
    pub(crate) async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        Ok(Self { tokens: store.tokens().await?.iter().map(Shown::from).collect() })
    }
}

/// A new token.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = CreatedApiToken)]
pub(crate) struct Created {
    #[serde(flatten)]
    pub(crate) shown: Shown,
    /// Its text, shown only once.
    pub(crate) token: String,
}

/// The reason why a token was not created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// There is one with this name.
    #[error("there is a token `{0}` already; delete it first, or choose another name")]
    Taken(TokenName),
    /// The operating system has no randomness to give.
    #[error("no token could be generated")]
    Randomness(#[source] getrandom::Error),
    /// The store is unavailable, or refused.
    #[error(transparent)]
    Store(StoreError),
}

impl Created {
    /// Creates a token in `store`.
    pub(crate) async fn new(
        store: &dyn Store,
        name: TokenName,
        scope: Scope,
    ) -> Result<Self, TokenError> {
        let random = clock::random().map_err(TokenError::Randomness)?;
        let (token, text) = ApiToken::new(name, scope, &random, clock::now());
        if store.insert_token(&token).await.map_err(TokenError::Store)? {
            Ok(Self { shown: Shown::from(&token), token: text })
        } else {
            Err(TokenError::Taken(token.name))
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Taken(_) => Self::new(Kind::Taken, error.to_string()),
            TokenError::Randomness(ref source) => {
                tracing::error!(error = %source, "api.no_randomness");
                Self::new(Kind::Internal, error.to_string())
            }
            TokenError::Store(error) => error.into(),
        }
    }
}

/// A token to create.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiTokenWanted)]
pub(super) struct CreateRequest {
    /// 1 to 64 letters, digits, `-`, `_` and `.`; unique.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.-]+$")]
    name: String,
    /// The permissions of its bearer; `write` by default.
    #[serde(default = "write")]
    scope: Scope,
}

fn write() -> Scope {
    Scope::Write
}

/// List tokens, ordered by name.
///
/// Needs the scope `write`. Those of the setting `api.tokens` are not listed.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens", operation_id = "list_tokens",
    responses((status = 200, description = "All tokens of the store", body = List)),
)]
pub(super) async fn list(
    State(app): State<AppState>,
    _: NoParameters,
) -> Result<Json<List>, Problem> {
    Ok(Json(List::read(app.services.store.as_ref()).await?))
}

/// Create a token.
///
/// It is accepted within a second. With the first one, requests without a token are refused.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", operation_id = "create_token",
    request_body = CreateRequest,
    responses(
        (status = 201, description = "Created; its text is shown only once", body = Created),
        (status = 409, description = "There is a token with this name"),
    )
)]
pub(super) async fn create(
    Acting(services): Acting,
    _: NoParameters,
    JsonBody(CreateRequest { name, scope }): JsonBody<CreateRequest>,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let name = TokenName::of_new(&name).map_err(|error| FieldError::new("name", error))?;
    let created = Created::new(services.store.as_ref(), name, scope).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Delete a token.
///
/// Requests that show it are refused within a second, also where it is that of this request.
#[utoipa::path(
    delete, path = "/v1/tokens/{name}", tag = "tokens", operation_id = "delete_token",
    params(("name" = String, Path, description = "The name of the token")),
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    Acting(services): Acting,
    _: NoParameters,
    NameInPath(name): NameInPath,
) -> Result<StatusCode, Problem> {
    // What is no name is none of a token, and not every store takes it.
    let is_name = name.parse::<TokenName>().is_ok();
    if is_name && services.store.remove_token(&name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        let name: String = name.chars().take(64).collect();
        Err(Problem::new(Kind::NotFound, format!("there is no token `{name}`")))
    }
}
