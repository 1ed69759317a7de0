//! Subscriptions: list, create, update, test, rotate secrets, delete.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::Value;

use super::{
    audit::Changes,
    cut,
    draft::{self, Texts},
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links, words,
};
use crate::{
    overview::UnreadableSubscription,
    registry::{CertificateView, Created, OVERLAP_DEFAULT, RegistryError, View},
    test_event::{self, TestEvent, TestEventResponse},
    verification::{self, VerificationError, VerificationResponse},
    web::{App, AppState, acting::Acting},
};
use homing_domain::{
    audit::ObjectKind,
    id::SubscriptionId,
    report::Chain,
    signature::SignatureScheme,
    subscription::{Authentication, BasicCredentials, Draft, FieldError, OAuth2Credentials},
    url::EndpointUrl,
};
use homing_store::{Listing, Page as Part, QuotaError};

const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "subscriptions.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    subscriptions: Vec<Listed>,
    corrupt: Vec<UnreadableSubscription>,
    total: u64,
    next: Option<String>,
    is_first: bool,
}

/// A subscription of the list.
struct Listed {
    view: View,
    /// The state of its endpoint's circuit; `None`: nothing was attempted there.
    state: Option<&'static str>,
}

/// Lists subscriptions, those at one URL or with a text in them; redirects to one whose id is given.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let sought = fields.text("q");
    if let Ok(id) = sought.parse::<SubscriptionId>() {
        return Ok(Redirect::to(&format!("/subscriptions/{id}")).into_response());
    }
    let services = &app.services;
    let wanted = Part { after: fields.get("after", &mut wrong), limit: PAGE };
    let listing = match sought.parse::<EndpointUrl>() {
        _ if !wrong.is_empty() => Listing::default(),
        Ok(url) => services.store.subscriptions_at(&url, wanted).await?,
        Err(_) if sought.is_empty() => services.registry.page(wanted).await?,
        Err(_) => services.store.subscriptions_with(sought, wanted).await?,
    };
    let mut subscriptions = Vec::new();
    for view in services.registry.views(&listing.subscriptions).await? {
        // A circuit that cannot be read hides no subscription.
        let circuit = match view.url.parse::<EndpointUrl>() {
            Ok(url) => services.store.circuit(&url).await.ok().flatten(),
            Err(_) => None,
        };
        let state = circuit.map(|circuit| circuit.state.name().as_str());
        subscriptions.push(Listed { view, state });
    }
    let query = fields.query(&["q"]);
    Ok(page(&ListPage {
        layout: Layout::new("Subscriptions", NavItem::Subscriptions, visitor),
        is_first: fields.given("after").is_none(),
        fields,
        wrong,
        subscriptions,
        corrupt: listing.corrupt.into_iter().map(UnreadableSubscription::from).collect(),
        total: services.store.count_subscriptions().await?,
        next: listing.next.map(|next| format!("/subscriptions?{query}&after={next}")),
    }))
}

#[derive(Template)]
#[template(path = "subscription_form.html")]
struct FormPage {
    layout: Layout,
    /// The one to update; absent: a new one.
    id: Option<SubscriptionId>,
    texts: Texts,
    wrong: Wrong,
    schedules: Vec<String>,
    /// Names of the present headers.
    header_names: Vec<String>,
    has_auth_token: bool,
    /// The present credentials, secrets masked.
    authentication: Option<Authentication>,
    certificate: Option<CertificateView>,
    /// True if another address needs the consent to send it the stored secrets.
    has_secrets: bool,
}

impl FormPage {
    fn basic(&self) -> Option<&BasicCredentials> {
        match &self.authentication {
            Some(Authentication::Basic(basic)) => Some(basic),
            Some(Authentication::OAuth2(_)) | None => None,
        }
    }

    fn oauth2(&self) -> Option<&OAuth2Credentials> {
        self.authentication.as_ref().and_then(Authentication::oauth2)
    }

    fn new(app: &App, visitor: Visitor, view: Option<&View>, texts: Texts) -> Self {
        let title = if view.is_some() { "Edit subscription" } else { "New subscription" };
        Self {
            layout: Layout::new(title, NavItem::Subscriptions, visitor),
            id: view.map(|view| view.id),
            texts,
            wrong: Wrong::default(),
            schedules: app.services.schedules.names().iter().map(ToString::to_string).collect(),
            header_names: view
                .map(|view| view.headers.keys().cloned().collect())
                .unwrap_or_default(),
            has_auth_token: view.is_some_and(|view| view.auth_token.is_some()),
            certificate: view.and_then(|view| view.client_certificate.clone()),
            authentication: view.and_then(|view| view.authentication.clone()),
            has_secrets: view.is_some_and(|view| {
                view.auth_token.is_some()
                    || view.authentication.is_some()
                    || view.client_certificate.is_some()
                    || !view.headers.is_empty()
                    || !view.secrets.is_empty()
            }),
        }
    }

    fn refused(mut self, wrong: Wrong) -> Response {
        self.wrong = wrong;
        (StatusCode::BAD_REQUEST, page(&self)).into_response()
    }
}

/// An empty form.
pub(super) async fn new(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Response {
    page(&FormPage::new(&app, visitor, None, Texts::sent(&fields)))
}

/// A form with the present values.
pub(super) async fn edit(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let (view, flaws) = app.services.registry.as_far_as_readable(self::id(&id)?).await?;
    let mut form = FormPage::new(&app, visitor, Some(&view), Texts::of(&view));
    for FieldError { field, message } in flaws {
        let message = format!("cannot be read ({message}); give a new value");
        draft::put_error(&FieldError { field, message }, &mut form.wrong);
    }
    Ok(page(&form))
}

/// Creates a subscription; shows its secret, once.
pub(super) async fn create(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let draft = draft::draft(&fields, true, &mut wrong);
    let form = FormPage::new(&app, visitor, None, Texts::sent(&fields));
    if !wrong.is_empty() {
        return Ok(form.refused(wrong));
    }
    let created = match serde_json::from_value::<Draft>(Value::Object(draft)) {
        Ok(draft) => services.registry.create(draft).await,
        Err(error) => Err(RegistryError::Field(FieldError::new("url", error))),
    };
    match created {
        Ok(created) => Ok(OnePage::created(visitor, created, "Created.")),
        Err(error) => refuse(form, error),
    }
}

/// Updates a subscription.
pub(super) async fn update(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let id = self::id(&id)?;
    let registry = &services.registry;
    let (view, _) = registry.as_far_as_readable(id).await?;
    let mut wrong = Wrong::default();
    let changes = draft::draft(&fields, false, &mut wrong);
    let form = FormPage::new(&app, visitor, Some(&view), Texts::sent(&fields));
    if !wrong.is_empty() {
        return Ok(form.refused(wrong));
    }
    match registry.update(id, changes).await {
        Ok(_) => Ok(Redirect::to(&format!("/subscriptions/{id}?changed=1")).into_response()),
        Err(error) => refuse(form, error),
    }
}

fn refuse(form: FormPage, error: RegistryError) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    match error {
        RegistryError::Field(error) => draft::put_error(&error, &mut wrong),
        RegistryError::Fields(errors) => {
            errors.iter().for_each(|error| draft::put_error(error, &mut wrong));
        }
        RegistryError::Quota(QuotaError::Filter { .. }) => wrong.add("filters", error.to_string()),
        RegistryError::Duplicate { .. } | RegistryError::Quota(_) => {
            wrong.add("url", error.to_string());
        }
        RegistryError::OriginChanged { from, to, .. } => wrong.add(
            "url",
            format!(
                "{to} is another address than {from}, for which the bearer token, credentials, \
                 client certificate, headers or signing secret were given. Enter these again, or tick the box below the form's \
                 fields to send the stored ones to the new address."
            ),
        ),
        RegistryError::NotFound { .. }
        | RegistryError::Unreadable(_)
        | RegistryError::Store(_)
        | RegistryError::Randomness(_) => return Err(error.into()),
    }
    Ok(form.refused(wrong))
}

#[derive(Template)]
#[template(path = "subscription.html")]
struct OnePage {
    layout: Layout,
    view: View,
    filters: String,
    /// Shown only once.
    secret: Option<String>,
    said: Option<&'static str>,
    tested: Option<TestEventResponse>,
    asked: Option<VerificationResponse>,
    /// Absent from answers to a button.
    last: Option<Changes>,
}

impl OnePage {
    fn new(visitor: Visitor, view: View) -> Self {
        let filters = serde_json::to_string_pretty(&view.filters).unwrap_or_default();
        let layout = Layout::new("Subscription", NavItem::Subscriptions, visitor);
        let (secret, said, tested, asked, last) = (None, None, None, None, None);
        Self { layout, view, filters, secret, said, tested, asked, last }
    }

    fn created(visitor: Visitor, created: Created, said: &'static str) -> Response {
        let secret = created.secret.map(|secret| secret.reveal());
        let new = Self::new(visitor, View::from(&created.subscription));
        page(&Self { secret, said: Some(said), ..new })
    }
}

/// One subscription.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let view = app.services.registry.view(self::id(&id)?).await?;
    let last = Changes::of(&app, ObjectKind::Subscription, &view.id.to_string()).await?;
    let said = fields.is_set("changed").then_some("Updated. Workers follow within a second.");
    Ok(page(&OnePage { said, last: Some(last), ..OnePage::new(visitor, view) }))
}

/// Creates a new signing secret, and shows it once, or its public key; the old one also signs for a
/// day.
pub(super) async fn rotate(
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let scheme: Option<SignatureScheme> = fields.get("signature_scheme", &mut wrong);
    if let Some(message) = wrong.with("signature_scheme") {
        return Err(ErrorPage::bad_request(message));
    }
    let rotating = services.registry.rotate_secret(self::id(&id)?, OVERLAP_DEFAULT, scheme);
    let created = rotating.await?;
    let said = "New secret created. For a day, requests are also signed with the old one.";
    Ok(OnePage::created(visitor, created, said))
}

/// Sends one test event from this process: nothing is queued, retried or counted.
pub(super) async fn test(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let subscription = app.services.registry.get(self::id(&id)?).await?;
    let sent = test_event::send(&app.endpoints, &subscription, TestEvent::default()).await;
    let tested = sent.map_err(|error| ErrorPage::bad_request(Chain(&error).to_string()))?;
    let new = OnePage::new(visitor, View::from(&subscription));
    Ok(page(&OnePage { tested: Some(tested), ..new }))
}

/// Asks the endpoint for its consent.
pub(super) async fn verify(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let id = self::id(&id)?;
    let asked = verification::verify(&app.endpoints, &services.registry, id).await;
    let asked = asked.map_err(|error| match error {
        VerificationError::Registry(error) => error.into(),
        VerificationError::Request(error) => ErrorPage::bad_request(Chain(&error).to_string()),
    })?;
    let view = services.registry.view(id).await?;
    Ok(page(&OnePage { asked: Some(asked), ..OnePage::new(visitor, view) }))
}

/// Deletes a subscription, if the box was ticked.
pub(super) async fn delete(
    Acting(services): Acting,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    if !fields.is_set("sure") {
        return Err(ErrorPage::bad_request(
            "Tick the box first: a deleted subscription cannot be restored.",
        ));
    }
    services.registry.delete(self::id(&id)?).await?;
    Ok(Redirect::to("/subscriptions").into_response())
}

fn id(text: &str) -> Result<SubscriptionId, ErrorPage> {
    text.parse().map_err(|_| ErrorPage::not_found("There is no such subscription."))
}
