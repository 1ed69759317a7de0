//! Subscriptions: list, one of them, its test, new secret and deletion.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::value::RawValue;

use super::{
    audit::Changes,
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::{self, link, query},
    pause::Pause,
    snippets::{self, Snippet},
    words,
};
use crate::{
    overview::UnreadableSubscription,
    registry::{Created, OVERLAP_DEFAULT, View},
    services::Services,
    test_event::{self, TestEvent, TestEventResponse},
    verification::{self, VerificationError, VerificationResponse},
    web::{AppState, acting::Acting},
};
use homing_domain::{
    audit::ObjectKind, id::SubscriptionId, report::Chain, signature::SignatureScheme,
    subscription::Authentication, topic::Topic, url::EndpointUrl,
};
use homing_store::{
    Page as Part, StoreError, SubscriptionListing, SubscriptionOrder, SubscriptionPage,
};

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
    order: SubscriptionOrder,
    /// The address of the first page.
    first: String,
    next: Option<String>,
    is_first: bool,
}

impl ListPage {
    /// The address of the list in another order.
    fn list(&self, order: SubscriptionOrder) -> String {
        address(&self.fields, order)
    }

    /// The order by URL, as its heading has it.
    fn by_url(&self) -> &'static str {
        if self.order == SubscriptionOrder::Url { "ascending" } else { "none" }
    }

    /// The order by the instant of creation, as its heading has it.
    fn by_creation(&self) -> &'static str {
        match self.order {
            SubscriptionOrder::Created => "ascending",
            SubscriptionOrder::Newest => "descending",
            SubscriptionOrder::Url => "none",
        }
    }

    /// The order by creation to which its heading leads.
    fn other_creation(&self) -> SubscriptionOrder {
        match self.order {
            SubscriptionOrder::Newest => SubscriptionOrder::Created,
            SubscriptionOrder::Created | SubscriptionOrder::Url => SubscriptionOrder::Newest,
        }
    }
}

/// The address of the list in an order, with its filter.
fn address(fields: &Fields, order: SubscriptionOrder) -> String {
    let filter = fields.given("q").map(|text| ("q", text));
    link("/subscriptions", filter.into_iter().chain([("sort", order.as_str())]))
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
    let order = fields.get("sort", &mut wrong).unwrap_or_default();
    let at = sought.parse::<EndpointUrl>().ok();
    let contains = at.is_none().then(|| fields.given("q").map(str::to_owned)).flatten();
    let after = fields.given("after").map(str::to_owned);
    let is_first = after.is_none();
    let wanted = SubscriptionPage { at, contains, order, after, limit: PAGE };
    let listing = if wrong.is_empty() {
        services.store.list_subscriptions(&wanted).await?
    } else {
        SubscriptionListing::default()
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
    let first = address(&fields, order);
    let next = listing.next.map(|next| format!("{first}&{}", query([("after", next.as_str())])));
    Ok(page(&ListPage {
        layout: Layout::new("Subscriptions", NavItem::Subscriptions, visitor),
        is_first,
        fields,
        wrong,
        subscriptions,
        corrupt: listing.corrupt.into_iter().map(UnreadableSubscription::from).collect(),
        total: services.store.count_subscriptions().await?,
        order,
        first,
        next,
    }))
}

#[derive(Template)]
#[template(path = "subscription.html")]
pub(super) struct OnePage {
    layout: Layout,
    view: View,
    filters: String,
    /// Shown only once.
    secret: Option<String>,
    said: Option<&'static str>,
    tested: Option<TestEventResponse>,
    asked: Option<VerificationResponse>,
    /// A test event of one's own, as sent.
    sent: Fields,
    wrong: Wrong,
    /// Absent from answers to a button.
    endpoint: Option<EndpointState>,
    /// Absent from answers to a button.
    last: Option<Changes>,
}

/// The circuit of the endpoint, by which a subscription is paused.
struct EndpointState {
    state: &'static str,
    /// The reason for it.
    why: Option<String>,
    /// True if other subscriptions send to the URL as well.
    is_shared: bool,
}

impl OnePage {
    fn new(visitor: Visitor, view: View) -> Self {
        Self {
            layout: Layout::new("Subscription", NavItem::Subscriptions, visitor),
            filters: serde_json::to_string_pretty(&view.filters).unwrap_or_default(),
            view,
            secret: None,
            said: None,
            tested: None,
            asked: None,
            sent: Fields::default(),
            wrong: Wrong::default(),
            endpoint: None,
            last: None,
        }
    }

    pub(super) fn created(visitor: Visitor, created: Created, said: &'static str) -> Response {
        let secret = created.secret.map(|secret| secret.reveal());
        let new = Self::new(visitor, View::from(&created.subscription));
        page(&Self { secret, said: Some(said), ..new })
    }

    /// Functions with which the receiver verifies; none, if nothing signs.
    fn snippets(&self) -> &'static [Snippet] {
        match self.view.secrets.first() {
            None => &[],
            Some(secret) if secret.public_key.is_some() => &snippets::V1A,
            Some(_) => &snippets::V1,
        }
    }
}

impl EndpointState {
    async fn of(services: &Services, view: &View) -> Result<Option<Self>, StoreError> {
        let Ok(url) = view.url.parse::<EndpointUrl>() else { return Ok(None) };
        let circuit = services.circuits.get(&url).await?;
        let two = Part { after: None, limit: 2 };
        let at = services.store.subscriptions_at(&url, two).await?;
        let is_shared = at.subscriptions.len() > 1;
        let state = circuit.state.name();
        let why = circuit.reason.map(|reason| reason.of(state));
        Ok(Some(Self { state: state.as_str(), why, is_shared }))
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
    let endpoint = EndpointState::of(&app.services, &view).await?;
    let new = OnePage::new(visitor, view);
    Ok(page(&OnePage { said, endpoint, last: Some(last), ..new }))
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

/// Sends one test event from this process, with a topic and a body of one's own if these are given:
/// nothing is queued, retried or counted.
pub(super) async fn test(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let subscription = app.services.registry.get(self::id(&id)?).await?;
    let mut wrong = Wrong::default();
    let event = TestEvent {
        topic: fields.given("topic").map(str::to_owned),
        body: body(&fields, &mut wrong),
    };
    if let Some(topic) = &event.topic
        && let Err(error) = Topic::new(topic)
    {
        wrong.add("topic", error.to_string());
    }
    let new = OnePage { sent: fields, ..OnePage::new(visitor, View::from(&subscription)) };
    if !wrong.is_empty() {
        return Ok((StatusCode::BAD_REQUEST, page(&OnePage { wrong, ..new })).into_response());
    }
    let sent = test_event::send(&app.endpoints, &subscription, event).await;
    let tested = sent.map_err(|error| ErrorPage::bad_request(Chain(&error).to_string()))?;
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

/// The body of a test event; what is no JSON is noted.
fn body(fields: &Fields, wrong: &mut Wrong) -> Option<Box<RawValue>> {
    let read = RawValue::from_string(fields.given("body")?.to_owned());
    read.map_err(|error| wrong.add("body", format!("not JSON: {error}"))).ok()
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

pub(super) fn id(text: &str) -> Result<SubscriptionId, ErrorPage> {
    text.parse().map_err(|_| ErrorPage::not_found("There is no such subscription."))
}
