//! A subscription as a client writes it, and its validation.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AuthToken, Authentication, ClientCertificate, ClientCertificatePem, EventFormat,
    SubscriptionSpec, Template, Verification, VerificationMethod, WorkfrontForm,
    wrong::{FieldErrors, Wrong, all},
};
use crate::{
    filter::{Connector, FilterSet},
    signature::{SignatureScheme, SigningSecret},
    topic::TopicPattern,
};

mod headers;
mod of_spec;

use headers::trimmed;

/// A subscription as written by a client; only its shape has been checked.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SubscriptionDraft, example = json!({"url": "https://example.com/hook", "topics": ["order.*"]}))]
pub struct Draft {
    /// The URL of the endpoint: `https://host/path`.
    #[schema(pattern = "^[Hh][Tt][Tt][Pp]")]
    pub url: String,
    /// Topic patterns, `*` for one word, `#` for any number: `order.*`, `PROJ.UPDATE`, `#`.
    #[schema(min_items = 1, max_items = 100)]
    pub topics: Vec<String>,
    /// Filters in Workfront's form.
    #[serde(default)]
    pub filters: Vec<Value>,
    /// The connector of the filters.
    #[serde(default)]
    pub filter_connector: Connector,
    /// Sent as `Authorization: Bearer`.
    #[serde(default)]
    pub auth_token: Option<String>,
    /// Sent as `Authorization` in place of a token: `{"basic": {"username": …, "password": …}}`, or
    /// `{"oauth2": {"token_url": …, "client_id": …, "client_secret": …}}`.
    #[serde(default)]
    pub authentication: Option<Authentication>,
    /// The client certificate that is presented to the endpoint: `{"certificate": …, "key": …}`, both
    /// in PEM.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificatePem>,
    /// Signing secrets, `whsec_…` (scheme `v1`) or `whsk_…` (`v1a`). Absent: one is generated. Empty:
    /// requests are not signed.
    #[serde(default)]
    pub secrets: Option<Vec<String>>,
    /// The scheme of the signing secret that is generated; `v1` by default. Only for a new
    /// subscription without `secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_scheme: Option<SignatureScheme>,
    /// Sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The name of a schedule in the settings.
    #[serde(default)]
    pub schedule: Option<String>,
    /// Requests per second that the endpoint accepts, from all workers together; 1 to 1,000,000.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub rate_limit: Option<u32>,
    /// Deadline of one attempt, connecting included, in place of `endpoint.deadline`: `30s`, `1m`;
    /// more than `endpoint.connect_deadline`, and a minute at most.
    #[serde(default)]
    #[schema(pattern = "^([5-9]|[1-5][0-9]|60)s$", example = "30s")]
    pub deadline: Option<String>,
    /// Requests at a time that the endpoint gets for this subscription, from all workers together;
    /// each worker makes one at least. 1 to 10,000.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_concurrency: Option<u32>,
    /// A note for operators.
    #[serde(default)]
    pub description: Option<String>,
    /// Those to ask about it: a team, a person, an address.
    #[serde(default)]
    pub owner: Option<String>,
    /// Names and values that operators know it by: `{"team": "billing"}`; up to 20.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Events are sent in Workfront's form; `topics` then has one such as `TASK.UPDATE`.
    #[serde(default)]
    pub workfront: Option<WorkfrontForm>,
    /// The form in which events are sent: `native` (as published, the default),
    /// `cloudevents-structured` or `cloudevents-binary`.
    #[serde(default)]
    pub format: Option<EventFormat>,
    /// Nothing is sent until the endpoint has consented, asked by `handshake` (`OPTIONS`, as CloudEvents
    /// defines it for webhooks) or `challenge` (a POST whose text the answer repeats).
    #[serde(default)]
    pub verification: Option<VerificationMethod>,
    /// Events are sent as messages for people: `{"receiver": "slack"}`, `"teams"`, `"pagerduty"` (the
    /// routing key is `auth_token`), or `{"receiver": "email", "from": …, "to": […]}`.
    #[serde(default)]
    pub template: Option<Template>,
}

/// The problem with one field of a draft.
#[derive(
    Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, utoipa::ToSchema,
)]
#[error("`{field}`: {message}")]
pub struct FieldError {
    /// The path of the field, `filters[0].comparison`.
    pub field: String,
    /// The problem, and the allowed values.
    pub message: String,
}

impl FieldError {
    /// `message` about `field`.
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }
}

const MAX_TOPICS: usize = 100;
/// Signing secrets of one subscription.
pub const MAX_SECRETS: usize = 10;
const MAX_DESCRIPTION_CHARS: usize = 1_000;

impl Draft {
    /// A draft for events of one topic pattern, without a secret.
    #[must_use]
    pub fn new(url: &str, topic: &str) -> Self {
        Self {
            url: url.to_owned(),
            topics: vec![topic.to_owned()],
            filters: Vec::new(),
            filter_connector: Connector::default(),
            auth_token: None,
            authentication: None,
            client_certificate: None,
            secrets: None,
            signature_scheme: None,
            headers: BTreeMap::new(),
            schedule: None,
            rate_limit: None,
            deadline: None,
            max_concurrency: None,
            description: None,
            owner: None,
            labels: BTreeMap::new(),
            workfront: None,
            format: None,
            verification: None,
            template: None,
        }
    }

    /// Validates the draft. `schedules` are the names in the settings.
    ///
    /// # Errors
    ///
    /// [`FieldErrors`]: all fields that are wrong.
    pub fn build(&self, schedules: &[&str]) -> Result<SubscriptionSpec, FieldErrors> {
        let mut wrong = Wrong::default();
        let url = self.url.parse().map_err(|error| FieldError::new("url", error));
        let url = wrong.take(url);
        let topics = wrong.take_all(self.topics());
        let filters = wrong.take_all(self.filters());
        if let Some(topics) = &topics {
            let filters = filters.as_ref();
            let old = filters.map(|filters| refuse_old_state_on_create(topics, filters));
            wrong.take(old.unwrap_or(Ok(())));
            wrong.take(self.workfront.iter().try_for_each(|form| form.check(topics)));
        }
        let auth_token = wrong.take(self.auth_token());
        let authentication = wrong.take(self.authentication());
        let client_certificate = wrong.take(self.client_certificate());
        let secrets = wrong.take_all(self.secrets());
        let headers = wrong.take_all(self.headers());
        let schedule = wrong.take(self.schedule(schedules));
        let rate_limit = wrong.take(self.rate_limit());
        let deadline = wrong.take(self.deadline());
        let max_concurrency = wrong.take(self.max_concurrency());
        let description = wrong.take(self.description());
        let format = wrong.take(self.format());
        let owner = wrong.take(self.owner());
        let labels = wrong.take_all(self.labels());
        let template = wrong.take(self.template());
        let whole = || {
            Some(SubscriptionSpec {
                url: url?,
                topics: topics?,
                filters: filters?,
                auth_token: auth_token?,
                authentication: authentication?,
                client_certificate: client_certificate?,
                secrets: secrets?,
                headers: headers?,
                schedule: schedule?,
                rate_limit: rate_limit?,
                deadline: deadline?,
                max_concurrency: max_concurrency?,
                description: description?,
                owner: owner?,
                labels: labels?,
                workfront: self.workfront.clone(),
                format: format?,
                verification: self.verification.map(Verification::by),
                template: template?,
            })
        };
        wrong.end(whole())
    }

    /// The error of the set names the first wrong filter; checking each alone names the others.
    fn filters(&self) -> Result<FilterSet, Vec<FieldError>> {
        let read = |filters: &[Value]| FilterSet::for_subscribing(filters, self.filter_connector);
        let first = match read(&self.filters) {
            Ok(filters) => return Ok(filters),
            Err(error) => FieldError::new(error.field(), &error),
        };
        let alone = self.filters.iter().enumerate().filter_map(|(index, filter)| {
            let error = read(std::slice::from_ref(filter)).err()?;
            let field = error.field().replacen("filters[0]", &format!("filters[{index}]"), 1);
            Some(FieldError::new(field, &error))
        });
        let wrong: Vec<_> = alone.collect();
        Err(if wrong.is_empty() { vec![first] } else { wrong })
    }

    fn topics(&self) -> Result<Vec<TopicPattern>, Vec<FieldError>> {
        if self.topics.is_empty() || self.topics.len() > MAX_TOPICS {
            let message = format!(
                "{} patterns; a subscription has 1 to {MAX_TOPICS} (`#` matches everything)",
                self.topics.len()
            );
            return Err(vec![FieldError::new("topics", message)]);
        }
        all(self.topics.iter().enumerate().map(|(index, text)| {
            TopicPattern::for_subscribing(text)
                .map_err(|error| FieldError::new(format!("topics[{index}]"), error))
        }))
    }

    fn auth_token(&self) -> Result<Option<AuthToken>, FieldError> {
        self.auth_token
            .clone()
            .map(|text| {
                AuthToken::try_from(trimmed(&text))
                    .map_err(|error| FieldError::new("auth_token", error))
            })
            .transpose()
    }

    fn authentication(&self) -> Result<Option<Authentication>, FieldError> {
        let Some(authentication) = &self.authentication else { return Ok(None) };
        if self.auth_token.is_some() {
            let message = "set either this field or `auth_token`: both are sent in `Authorization`";
            return Err(FieldError::new("authentication", message));
        }
        authentication.check().map(|()| self.authentication.clone())
    }

    fn client_certificate(&self) -> Result<Option<ClientCertificate>, FieldError> {
        let Some(pem) = &self.client_certificate else { return Ok(None) };
        if !self.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")) {
            let message = "is presented over TLS; the URL has to begin with `https://`";
            return Err(FieldError::new("client_certificate", message));
        }
        ClientCertificate::new(pem.clone()).map(Some)
    }

    fn secrets(&self) -> Result<Vec<SigningSecret>, Vec<FieldError>> {
        let secrets = self.secrets.as_deref().unwrap_or_default();
        if secrets.len() > MAX_SECRETS {
            let message = format!("{} secrets; at most {MAX_SECRETS} sign", secrets.len());
            return Err(vec![FieldError::new("secrets", message)]);
        }
        all(secrets.iter().enumerate().map(|(index, text)| {
            SigningSecret::try_from(text.clone())
                .map_err(|error| FieldError::new(format!("secrets[{index}]"), error))
        }))
    }

    fn schedule(&self, schedules: &[&str]) -> Result<Option<String>, FieldError> {
        match self.schedule.as_deref() {
            Some(name) if !schedules.contains(&name) => {
                let message = format!(
                    "no schedule `{name}`; one of {} (built-in ones are added by \
                     `schedule.offered`, see `homing schedule --all`)",
                    schedules.join(", ")
                );
                Err(FieldError::new("schedule", message))
            }
            Some(_) | None => Ok(self.schedule.clone()),
        }
    }

    fn description(&self) -> Result<Option<String>, FieldError> {
        match &self.description {
            Some(text) if text.chars().count() > MAX_DESCRIPTION_CHARS => Err(FieldError::new(
                "description",
                format!("longer than {MAX_DESCRIPTION_CHARS} characters"),
            )),
            // The one character that PostgreSQL cannot store in a text.
            Some(text) if text.contains('\0') => {
                Err(FieldError::new("description", "has the character NUL"))
            }
            Some(_) | None => Ok(self.description.clone()),
        }
    }
}

/// An event that creates something has no old state, so such a filter could never be true.
/// Source: Adobe Workfront, event subscription filters, `state`.
fn refuse_old_state_on_create(
    topics: &[TopicPattern],
    filters: &FilterSet,
) -> Result<(), FieldError> {
    let create = topics.iter().find(|pattern| pattern.last_word() == "CREATE");
    match (create, filters.old_state_field()) {
        (Some(pattern), Some(field)) => Err(FieldError::new(
            field,
            format!("`oldState` cannot be used with topic `{pattern}`: it has no old state"),
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
