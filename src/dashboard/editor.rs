//! The form of a subscription: a new one, a copy, or one that exists.
//!
//! Nothing that was typed is lost: a form that is refused comes back with all that was sent, the
//! secrets too, and with all errors, each at its field. Buttons that only change the form, such as
//! the one that adds a row, send it and save nothing.

use std::time::Duration;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    draft::{self, Texts},
    fields::{Fields, Wrong},
    filter_rows::{COMPARISONS, FilterTexts, error_of},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links,
    matching::{Recent, Trial},
    subscriptions::{self, OnePage},
    words::{self, Number},
};
use crate::{
    registry::{CertificateView, Problems, RegistryError, View, top_level},
    web::{App, AppState, acting::Acting},
};
use homing_domain::{
    filter::Connector,
    id::SubscriptionId,
    report::without_types,
    subscription::{
        Authentication, BasicCredentials, Draft, FieldError, OAuth2Credentials, Receiver,
        SubscriptionSpec,
    },
};
use homing_store::QuotaError;

/// Topics that are suggested, those of the last events.
const SUGGESTED: u32 = 200;
/// The time for reading them: they are a help, no condition.
const SUGGESTED_WITHIN: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "subscription_form.html")]
struct FormPage {
    layout: Layout,
    /// The one to update; absent: a new one.
    id: Option<SubscriptionId>,
    texts: Texts,
    /// As sent: secrets, and boxes that were ticked.
    sent: Fields,
    wrong: Wrong,
    /// A remark above the form.
    said: Option<&'static str>,
    /// Recent events, tried against the topics and filters of the form.
    trial: Option<Trial>,
    schedules: Vec<String>,
    /// Topics that were seen.
    suggested: Vec<String>,
    /// The subscription as it is now; absent: a new one.
    present: Option<View>,
    /// Its last change when the form was opened; empty: a new one.
    opened: String,
}

/// A button that changes the form, and saves nothing.
enum Step {
    AddTopic,
    AddFilter,
    TurnFilters,
    Try,
}

impl Step {
    fn of(fields: &Fields) -> Option<Self> {
        match fields.text("do") {
            "topic" => Some(Self::AddTopic),
            "filter" => Some(Self::AddFilter),
            "turn" => Some(Self::TurnFilters),
            "try" => Some(Self::Try),
            _ => None,
        }
    }
}

impl FormPage {
    async fn new(app: &App, visitor: Visitor, present: Option<View>, texts: Texts) -> Self {
        let title = if present.is_some() { "Edit subscription" } else { "New subscription" };
        let seen = timeout(SUGGESTED_WITHIN, app.services.store.topics_with("", SUGGESTED)).await;
        let seen = seen.ok().and_then(Result::ok).unwrap_or_default();
        Self {
            layout: Layout::new(title, NavItem::Subscriptions, visitor),
            id: present.as_ref().map(|view| view.id),
            texts,
            sent: Fields::default(),
            wrong: Wrong::default(),
            said: None,
            trial: None,
            schedules: app.services.schedules.names().iter().map(ToString::to_string).collect(),
            suggested: seen.into_iter().map(|seen| seen.topic).collect(),
            opened: present.as_ref().map(|view| view.updated.clone()).unwrap_or_default(),
            present,
        }
    }

    /// With what was sent.
    async fn sent(app: &App, visitor: Visitor, present: Option<View>, fields: Fields) -> Self {
        let new = Self::new(app, visitor, present, Texts::sent(&fields)).await;
        Self { opened: fields.text("opened").to_owned(), sent: fields, ..new }
    }

    /// The form again if someone has changed the subscription since it was opened: saved at once, it
    /// would take that back. A form of an earlier version does not say when that was.
    fn overtaken(&mut self) -> Option<Response> {
        let now = self.present.as_ref().map(|view| view.updated.clone()).unwrap_or_default();
        if self.opened.is_empty() || self.opened == now {
            return None;
        }
        self.opened = now;
        self.said = Some(
            "Someone has changed this subscription since you opened the form. Nothing was saved, and \
             all that you entered is kept: look at the change on its page, then save again to \
             replace it.",
        );
        Some((StatusCode::CONFLICT, page(&*self)).into_response())
    }

    fn basic(&self) -> Option<&BasicCredentials> {
        match self.authentication() {
            Some(Authentication::Basic(basic)) => Some(basic),
            Some(Authentication::OAuth2(_)) | None => None,
        }
    }

    fn oauth2(&self) -> Option<&OAuth2Credentials> {
        self.authentication().and_then(Authentication::oauth2)
    }

    /// The present credentials, secrets masked.
    fn authentication(&self) -> Option<&Authentication> {
        self.present.as_ref().and_then(|view| view.authentication.as_ref())
    }

    fn certificate(&self) -> Option<&CertificateView> {
        self.present.as_ref().and_then(|view| view.client_certificate.as_ref())
    }

    fn has_auth_token(&self) -> bool {
        self.present.as_ref().is_some_and(|view| view.auth_token.is_some())
    }

    /// Names of the present headers.
    fn header_names(&self) -> Vec<&str> {
        let names = self.present.iter().flat_map(|view| view.headers.keys());
        names.map(String::as_str).collect()
    }

    /// True if another address needs the consent to send it the stored secrets.
    fn has_secrets(&self) -> bool {
        self.present.as_ref().is_some_and(|view| {
            view.auth_token.is_some()
                || view.authentication.is_some()
                || view.client_certificate.is_some()
                || !view.headers.is_empty()
                || !view.secrets.is_empty()
        })
    }

    /// The error of a row of filters.
    fn wrong_in_row(&self, row: impl Number) -> Option<&str> {
        self.wrong.with(&error_of(row.number()))
    }

    fn refused(mut self, wrong: Wrong) -> Response {
        self.wrong = wrong;
        (StatusCode::BAD_REQUEST, page(&self)).into_response()
    }

    /// The form after a button that saves nothing.
    async fn stepped(mut self, app: &App, step: Step) -> Response {
        match step {
            Step::AddTopic => {
                self.texts.topics = draft::topics(&self.sent).join("\n");
                self.texts.add_topic.clear();
            }
            Step::AddFilter => self.texts.filters = self.filters().with_row(),
            Step::TurnFilters => self.texts.filters = self.filters().turned(&mut self.wrong),
            Step::Try => {
                let (wanted, wrong) = wanted(&self.sent);
                self.wrong = wrong;
                if let Some(wanted) = wanted {
                    self.trial = Some(Trial::of(&wanted, Recent::read(app).await).await);
                }
            }
        }
        page(&self)
    }

    fn filters(&mut self) -> FilterTexts {
        std::mem::take(&mut self.texts.filters)
    }
}

/// A draft with the topics and filters of the form, and what is wrong with these.
fn wanted(fields: &Fields) -> (Option<SubscriptionSpec>, Wrong) {
    let mut wrong = Wrong::default();
    let filters = FilterTexts::sent(fields).given(&mut wrong);
    let mut draft = Draft::new("https://example.com/", "#");
    draft.topics = draft::topics(fields).into_iter().map(str::to_owned).collect();
    draft.filters = filters.filters;
    if fields.text("filter_connector") == "OR" {
        draft.filter_connector = Connector::Or;
    }
    let built = draft.build(&[]);
    if let Err(errors) = &built {
        errors.iter().for_each(|error| draft::put_error(error, &filters.rows, &mut wrong));
    }
    (built.ok().filter(|_| wrong.is_empty()), wrong)
}

/// An empty form, or one with the values of another subscription but its secrets.
pub(super) async fn new(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let Some(from) = fields.given("from") else {
        return Ok(page(&FormPage::new(&app, visitor, None, Texts::sent(&fields)).await));
    };
    let view = app.services.registry.view(subscriptions::id(from)?).await?;
    let said = "A copy without secrets: token, credentials, certificate and headers are not copied, \
                and it gets a signing secret of its own. Change the URL, topics or filters: no two \
                subscriptions send the same events to the same URL.";
    let form = FormPage::new(&app, visitor, None, Texts::of(&view)).await;
    Ok(page(&FormPage { said: Some(said), ..form }))
}

/// A form with the present values.
pub(super) async fn edit(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, ErrorPage> {
    let id = subscriptions::id(&id)?;
    let (view, flaws) = app.services.registry.as_far_as_readable(id).await?;
    let texts = Texts::of(&view);
    let mut form = FormPage::new(&app, visitor, Some(view), texts).await;
    for FieldError { field, message } in flaws {
        let message = format!("cannot be read ({message}); give a new value");
        draft::put_error(&FieldError { field, message }, &[], &mut form.wrong);
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
    let form = FormPage::sent(&app, visitor.clone(), None, fields.clone()).await;
    if let Some(step) = Step::of(&fields) {
        return Ok(form.stepped(&app, step).await);
    }
    let mut wrong = Wrong::default();
    let drafted = draft::draft(&fields, true, &mut wrong);
    let draft = read(drafted, &fields, &mut wrong);
    if let Some(draft) = &draft {
        put_all(&services.registry.problems(draft), &fields, &mut wrong);
    }
    let Some(draft) = draft.filter(|_| wrong.is_empty()) else { return Ok(form.refused(wrong)) };
    match services.registry.create(draft).await {
        Ok(created) => Ok(OnePage::created(visitor, created, "Created.")),
        Err(error) => refuse(form, error),
    }
}

/// The draft of a form; what keeps it from being one is noted.
fn read(mut drafted: Map<String, Value>, fields: &Fields, wrong: &mut Wrong) -> Option<Draft> {
    loop {
        let error = match serde_path_to_error::deserialize(Value::Object(drafted.clone())) {
            Ok(draft) => return Some(draft),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let error = FieldError::new(error.path().to_string(), without_types(&message));
        // The others are checked without it.
        let removed = drafted.remove(top_level(&error.field));
        put_all(&[error], fields, wrong);
        removed.as_ref()?;
    }
}

/// Notes problems at their fields, beside those that are noted there.
fn put_all(problems: &[FieldError], fields: &Fields, wrong: &mut Wrong) {
    let rows = FilterTexts::sent(fields).given(&mut Wrong::default()).rows;
    let mut further = Wrong::default();
    for error in problems {
        draft::put_error(error, &rows, &mut further);
    }
    // What could not be read was left out, and is missing only for that reason.
    wrong.extend_unless_known(further);
}

/// Updates a subscription.
pub(super) async fn update(
    State(app): State<AppState>,
    Acting(services): Acting,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let id = subscriptions::id(&id)?;
    let registry = &services.registry;
    let (view, _) = registry.as_far_as_readable(id).await?;
    let mut form = FormPage::sent(&app, visitor, Some(view), fields.clone()).await;
    if let Some(step) = Step::of(&fields) {
        return Ok(form.stepped(&app, step).await);
    }
    if let Some(again) = form.overtaken() {
        return Ok(again);
    }
    let mut wrong = Wrong::default();
    let changes = draft::draft(&fields, false, &mut wrong);
    let Problems { fields: problems, origin } =
        registry.problems_of_change(id, changes.clone()).await?;
    put_all(&problems, &fields, &mut wrong);
    if let Some(error) = &origin {
        put_refusal(error, &mut wrong);
    }
    if !wrong.is_empty() {
        return Ok(form.refused(wrong));
    }
    match registry.update(id, changes).await {
        Ok(_) => Ok(Redirect::to(&format!("/subscriptions/{id}?changed=1")).into_response()),
        Err(error) => refuse(form, error),
    }
}

/// The form again, if that helps; else the error.
fn refuse(form: FormPage, error: RegistryError) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    put_refusal(&error, &mut wrong);
    if wrong.is_empty() { Err(error.into()) } else { Ok(form.refused(wrong)) }
}

/// Notes a refusal at its field; none, if it is about no field.
pub(super) fn put_refusal(error: &RegistryError, wrong: &mut Wrong) {
    match error {
        RegistryError::Field(error) => draft::put_error(error, &[], wrong),
        RegistryError::Fields(errors) => {
            errors.iter().for_each(|error| draft::put_error(error, &[], wrong));
        }
        RegistryError::Quota(QuotaError::Filter { .. }) => wrong.add("filters", error.to_string()),
        RegistryError::Duplicate { .. } | RegistryError::Quota(_) => {
            wrong.add("url", error.to_string());
        }
        RegistryError::OriginChanged { from, to, .. } => wrong.add(
            "url",
            format!(
                "{to} is another address than {from}, for which the bearer token, credentials, \
                 client certificate, headers or signing secret were given. Enter these again, or \
                 tick the box below the form's fields to send the stored ones to the new address."
            ),
        ),
        RegistryError::NotFound { .. }
        | RegistryError::Unreadable(_)
        | RegistryError::Store(_)
        | RegistryError::Randomness(_) => {}
    }
}
