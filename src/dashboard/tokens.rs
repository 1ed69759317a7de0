//! API tokens: list, create with a scope (shown once), revoke after a question.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    words,
};
use crate::web::{App, AppState, acting::Acting};
use homing_domain::{
    api_token::{ApiToken, Scope, TokenName},
    clock,
};
use homing_store::StoreError;

#[derive(Template)]
#[template(path = "tokens.html")]
struct ListPage {
    layout: Layout,
    tokens: Vec<Listed>,
    /// Tokens in `api.tokens`.
    configured: usize,
    fields: Fields,
    wrong: Wrong,
    /// The new token and its name; shown only once.
    created: Option<(TokenName, String)>,
}

/// A token of the list.
struct Listed {
    token: ApiToken,
    /// True if the visitor shows it.
    is_own: bool,
}

impl ListPage {
    async fn read(app: &App, visitor: Visitor) -> Result<Self, StoreError> {
        let own = visitor.name.clone();
        let is_own = |token: &ApiToken| own.as_deref() == Some(token.name.as_actor().as_str());
        let tokens = app.services.store.tokens().await?.into_iter();
        Ok(Self {
            tokens: tokens.map(|token| Listed { is_own: is_own(&token), token }).collect(),
            layout: Layout::new("Tokens", NavItem::Settings, visitor),
            configured: app.services.settings.api.tokens.len(),
            fields: Fields::default(),
            wrong: Wrong::default(),
            created: None,
        })
    }

    /// True if every request is accepted from this machine, as long as there is no token.
    fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.configured == 0
    }
}

/// Lists the tokens.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, ErrorPage> {
    Ok(page(&ListPage::read(&app, visitor).await?))
}

/// Creates a token, and shows it once.
pub(super) async fn create(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let name = TokenName::of_new(fields.text("name"));
    let name = name.map_err(|error| wrong.add("name", error.to_string())).ok();
    let scope = fields.text("scope").parse::<Scope>();
    let scope = scope.map_err(|error| wrong.add("scope", error.to_string())).ok();
    let mut created = None;
    if let (Some(name), Some(scope)) = (name, scope) {
        let random = clock::random().map_err(|error| {
            ErrorPage::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })?;
        let (token, text) = ApiToken::new(name, scope, &random, clock::now());
        if services.store.insert_token(&token).await? {
            created = Some((token.name, text));
        } else {
            wrong.add("name", "there is a token of this name; revoke it first".to_owned());
        }
    }
    let list = ListPage::read(&app, visitor).await?;
    if created.is_some() {
        return Ok(page(&ListPage { created, ..list }));
    }
    Ok((StatusCode::BAD_REQUEST, page(&ListPage { fields, wrong, ..list })).into_response())
}

#[derive(Template)]
#[template(path = "token.html")]
struct OnePage {
    layout: Layout,
    token: ApiToken,
    /// True if the visitor shows it.
    is_own: bool,
    /// The state of affairs without it.
    then: Then,
}

/// The consequence of revoking a token for all others.
enum Then {
    /// Others are left, and one of them may write.
    OthersStay,
    /// Others are left, and none of them may write.
    NoneWrites,
    /// It is the last one, and only this machine can reach the API: it accepts all requests then.
    Open,
    /// It is the last one, and the API can be reached from elsewhere: it accepts none then.
    Closed,
}

/// Asks before a token is revoked.
pub(super) async fn ask(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Result<Response, ErrorPage> {
    let list = ListPage::read(&app, visitor).await?;
    let settings = &app.services.settings.api;
    let others = || list.tokens.iter().filter(|one| one.token.name.as_str() != name);
    // Those of the settings may write.
    let writes = |one: &Listed| one.token.scope.covers(Scope::Write);
    let then = if list.configured > 0 || others().any(writes) {
        Then::OthersStay
    } else if others().next().is_some() {
        Then::NoneWrites
    } else if settings.listen.ip().is_loopback() {
        Then::Open
    } else {
        Then::Closed
    };
    let found = list.tokens.into_iter().find(|one| one.token.name.as_str() == name);
    let Listed { token, is_own } = found.ok_or_else(unknown)?;
    let layout = Layout { title: format!("Revoke {}", token.name), ..list.layout };
    Ok(page(&OnePage { layout, token, is_own, then }))
}

/// Revokes a token, if the box was ticked.
pub(super) async fn revoke(
    Acting(services): Acting,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    if !fields.is_set("sure") {
        let why = "Tick the box first: a revoked token cannot be restored.";
        return Err(ErrorPage::bad_request(why));
    }
    if !services.store.remove_token(&name).await? {
        return Err(unknown());
    }
    Ok(Redirect::to("/tokens").into_response())
}

fn unknown() -> ErrorPage {
    ErrorPage::not_found("There is no such token.")
}
