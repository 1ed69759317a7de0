//! Alerting: the subscriptions that get homing's own events, each with a test, and a form for a new
//! one with the template of its receiver.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::json;

use super::{
    cut, draft,
    editor::put_refusal,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    subscriptions, words,
};
use crate::{
    registry::View,
    test_event::{self, TestEvent, TestEventResponse},
    web::{App, AppState, acting::Acting},
};
use homing_domain::{
    report::Chain,
    subscription::{Draft, FieldError, Receiver},
};
use homing_store::StoreError;

/// Subscriptions to homing's own events that are shown.
const MAX_SHOWN: usize = 50;

/// Kinds of homing's own events: the field of the form, the topics, and what they say.
const KINDS: [(&str, &str, &str); 3] = [
    ("endpoints", "homing.endpoint.*", "an endpoint's circuit opens, closes or freezes"),
    ("audit", "homing.audit.#", "someone changes something"),
    ("ledger", "homing.ledger.hour", "an hour of the ledger is over (with ledger.events)"),
];

#[derive(Template)]
#[template(path = "alerting.html")]
struct AlertingPage {
    layout: Layout,
    subscriptions: Vec<View>,
    has_more: bool,
    fields: Fields,
    wrong: Wrong,
    said: Option<&'static str>,
    /// The subscription that was tried, and the answer.
    tested: Option<(View, TestEventResponse)>,
}

impl AlertingPage {
    async fn read(app: &App, visitor: Visitor) -> Result<Self, ErrorPage> {
        let (found, has_more) = alerted(app).await?;
        Ok(Self {
            layout: Layout::new("Alerting", NavItem::Settings, visitor),
            subscriptions: found,
            has_more,
            fields: Fields::default(),
            wrong: Wrong::default(),
            said: None,
            tested: None,
        })
    }

    /// True if a kind of events is chosen; at first, the endpoints are.
    fn is_chosen(&self, kind: &str) -> bool {
        self.fields.is_set(kind) || self.fields.names().next().is_none() && kind == "endpoints"
    }
}

/// The subscriptions that name homing's own events, and true if there are more.
async fn alerted(app: &App) -> Result<(Vec<View>, bool), StoreError> {
    let subscriptions = &app.services.subscriptions;
    // One that was just added is to be seen.
    subscriptions.refresh().await?;
    let most = MAX_SHOWN.saturating_add(1);
    let found = subscriptions.latest().naming_own(most).unwrap_or_default();
    let views = found.iter().take(MAX_SHOWN).map(|one| View::from(&**one));
    Ok((views.collect(), found.len() > MAX_SHOWN))
}

/// The list and the form.
pub(super) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let said = fields.is_set("added").then_some("Added. Send it a test to see that it arrives.");
    Ok(page(&AlertingPage { said, ..AlertingPage::read(&app, visitor).await? }))
}

/// Creates a subscription to homing's own events.
pub(super) async fn create(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    if let Some(draft) = drafted(&fields, &mut wrong) {
        put_all(&services.registry.problems(&draft), &mut wrong);
        if wrong.is_empty() {
            match services.registry.create(draft).await {
                Ok(created) => {
                    let added = format!("/alerting?added={}", created.subscription.id);
                    return Ok(Redirect::to(&added).into_response());
                }
                Err(error) => {
                    put_refusal(&error, &mut wrong);
                    if wrong.is_empty() {
                        return Err(error.into());
                    }
                }
            }
        }
    }
    let new = AlertingPage::read(&app, visitor).await?;
    Ok((StatusCode::BAD_REQUEST, page(&AlertingPage { fields, wrong, ..new })).into_response())
}

fn put_all(problems: &[FieldError], wrong: &mut Wrong) {
    let mut further = Wrong::default();
    for error in problems {
        draft::put_error(error, &[], &mut further);
    }
    wrong.extend_unless_known(further);
}

/// The subscription of the form; what keeps it from being one is noted.
fn drafted(fields: &Fields, wrong: &mut Wrong) -> Option<Draft> {
    let receiver: Option<Receiver> = fields.get("receiver", wrong);
    if receiver.is_none() && wrong.with("receiver").is_none() {
        wrong.add("receiver", "choose one".to_owned());
    }
    let topics = KINDS.iter().filter(|(kind, ..)| fields.is_set(kind)).map(|(_, topic, _)| *topic);
    let topics: Vec<_> = topics.collect();
    if topics.is_empty() {
        wrong.add("topics", "choose at least one".to_owned());
    }
    let receiver = receiver?;
    let to = fields.text("to").split(',').map(str::trim).filter(|address| !address.is_empty());
    let draft = json!({
        "url": fields.given("url").unwrap_or_else(|| address(receiver)),
        "topics": topics,
        "auth_token": fields.given("key"),
        "template": {
            "receiver": receiver,
            "from": fields.given("from"),
            "to": to.collect::<Vec<_>>(),
        },
        "description": fields.given("description"),
        "owner": fields.given("owner"),
        // Those receivers verify no signatures.
        "secrets": [],
    });
    let read = serde_json::from_value(draft);
    read.map_err(|error: serde_json::Error| wrong.add("receiver", error.to_string())).ok()
}

/// The address of a service that has only one; empty: each installation has its own.
fn address(receiver: Receiver) -> &'static str {
    match receiver {
        Receiver::Slack | Receiver::Teams => "",
        Receiver::PagerDuty => "https://events.pagerduty.com/v2/enqueue",
        Receiver::Email => "https://api.sendgrid.com/v3/mail/send",
    }
}

/// Sends one test event, and shows the answer.
pub(super) async fn attempt(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let id = subscriptions::id(fields.text("id"))?;
    let subscription = app.services.registry.get(id).await?;
    let sent = test_event::send(&app.endpoints, &subscription, TestEvent::default()).await;
    let answer = sent.map_err(|error| ErrorPage::bad_request(Chain(&error).to_string()))?;
    let tested = Some((View::from(&subscription), answer));
    Ok(page(&AlertingPage { tested, ..AlertingPage::read(&app, visitor).await? }))
}
