//! Views of subscriptions.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
};

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{Registry, RegistryError};
use homing_domain::{
    activity::COSTLY_FOR,
    clock,
    filter::Connector,
    id::SubscriptionId,
    signature::SigningSecret,
    subscription::{
        AuthToken, Authentication, ClientCertificate, Draft, EventFormat, Subscription,
        SubscriptionSpec, Template, TokenStatus, VerificationMethod, WorkfrontForm,
    },
    text::Word,
    time::UnixMillis,
};
use homing_store::Damaged;

/// A subscription with masked secrets; instants in RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Subscription)]
pub struct View {
    /// Its id.
    pub id: SubscriptionId,
    /// The URL to send to.
    pub url: String,
    /// Topic patterns.
    pub topics: Vec<String>,
    /// Filters in Workfront's form.
    pub filters: Vec<Value>,
    /// The connector of the filters.
    pub filter_connector: Connector,
    /// At most the last four characters.
    pub auth_token: Option<String>,
    /// Credentials in place of a token, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The state of the token that OAuth 2.0 credentials get; only of one that is shown alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2_token: Option<TokenView>,
    /// The client certificate that is presented to the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CertificateView>,
    /// Newest first.
    pub secrets: Vec<SecretView>,
    /// Names with masked values.
    #[serde(deserialize_with = "masked_headers")]
    pub headers: BTreeMap<String, &'static str>,
    /// The name of its schedule.
    pub schedule: Option<String>,
    /// Requests per second.
    pub rate_limit: Option<u32>,
    /// The deadline of one attempt; null: `endpoint.deadline`.
    pub deadline: Option<String>,
    /// Requests at a time.
    pub max_concurrency: Option<u32>,
    /// A note for operators.
    pub description: Option<String>,
    /// Those to ask about it.
    #[serde(default)]
    pub owner: Option<String>,
    /// Names and values that operators know it by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Workfront's form, if events are sent in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workfront: Option<WorkfrontForm>,
    /// The form in which events are sent otherwise, if that is not as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<EventFormat>,
    /// The consent of the endpoint, if it is asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationView>,
    /// The template, if events are sent as messages for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The last instant, since its last change and in the last day, at which an event was parked
    /// because its filters cost too much; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters_over_budget: Option<String>,
    /// The reason why the settings do not allow to call the URL: its attempts fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_called: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub updated: String,
}

/// A masked signing secret.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SigningSecret)]
pub struct SecretView {
    /// A mask.
    #[serde(deserialize_with = "masked")]
    #[schema(value_type = String)]
    pub secret: Word,
    /// Of the scheme `v1a`: the public key with which the receiver verifies, `whpk_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// RFC 3339; from then on it no longer signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// A client certificate without its key.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ClientCertificate)]
pub struct CertificateView {
    /// The one that it is for.
    pub subject: String,
    /// The end of its validity; RFC 3339.
    pub expires: String,
}

/// The state of an OAuth 2.0 token; instants in RFC 3339, by the clock of the store.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OAuth2Token)]
pub struct TokenView {
    /// The instant at which it was obtained; absent: none was yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obtained: Option<String>,
    /// The end of its lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The instant since which no token request succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// The reason why the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The verification of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Verification)]
pub struct VerificationView {
    /// The way in which it is asked.
    pub method: VerificationMethod,
    /// The instant at which it consented, RFC 3339; absent: it has not, and nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Requests per minute that it allows; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_rate: Option<u32>,
}

const MASK: &str = "****";

/// A mask that another homing has written.
fn masked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| MASK)
}

fn masked_headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, &'static str>, D::Error> {
    let masks = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(masks.into_keys().map(|name| (name, MASK)).collect())
}

impl From<&Subscription> for View {
    fn from(subscription: &Subscription) -> Self {
        let spec = &subscription.spec;
        Self {
            id: subscription.id,
            url: spec.url.as_str().to_owned(),
            topics: spec.topics.iter().map(ToString::to_string).collect(),
            filters: spec.filters.to_json(),
            filter_connector: spec.filters.connector(),
            auth_token: spec.auth_token.as_ref().map(AuthToken::masked),
            authentication: spec.authentication.as_ref().map(Authentication::masked),
            oauth2_token: None,
            client_certificate: spec.client_certificate.as_ref().map(CertificateView::from),
            secrets: spec.secrets.iter().map(SecretView::from).collect(),
            headers: spec.headers.keys().map(|name| (name.clone(), MASK)).collect(),
            schedule: spec.schedule.clone(),
            rate_limit: spec.rate_limit.map(NonZeroU32::get),
            deadline: spec.deadline.map(Draft::written_deadline),
            max_concurrency: spec.max_concurrency.map(NonZeroU32::get),
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            labels: spec.labels.clone(),
            workfront: spec.workfront.clone(),
            format: spec.format.other_than_native(),
            verification: VerificationView::of(spec),
            template: spec.template.clone(),
            filters_over_budget: None,
            not_called: None,
            created: subscription.created.to_string(),
            updated: subscription.updated.to_string(),
        }
    }
}

impl VerificationView {
    /// Of a subscription that asks for one.
    pub(crate) fn of(spec: &SubscriptionSpec) -> Option<Self> {
        let verification = spec.verification.as_ref()?;
        let consent = verification.consent_of(&spec.url);
        Some(Self {
            method: verification.method,
            verified: consent.map(|consent| consent.at().to_string()),
            allowed_rate: spec.allowed_rate().map(NonZeroU32::get),
        })
    }

    fn not_yet(method: VerificationMethod) -> Self {
        Self { method, verified: None, allowed_rate: None }
    }
}

impl From<&SigningSecret> for SecretView {
    fn from(secret: &SigningSecret) -> Self {
        let expires = secret.expires().map(|expires| expires.to_string());
        Self { secret: MASK, public_key: secret.public_key(), expires }
    }
}

impl From<TokenStatus> for TokenView {
    fn from(status: TokenStatus) -> Self {
        let text = |at: Option<UnixMillis>| at.map(|at| at.to_string());
        let TokenStatus { obtained, expires, failing_since, error } = status;
        let (obtained, expires) = (text(obtained), text(expires));
        Self { obtained, expires, failing_since: text(failing_since), error }
    }
}

impl From<&ClientCertificate> for CertificateView {
    fn from(certificate: &ClientCertificate) -> Self {
        let subject = certificate.subject().to_owned();
        Self { subject, expires: certificate.expires().to_string() }
    }
}

impl View {
    /// The readable part of a damaged one.
    pub(super) fn of_damaged(id: SubscriptionId, damaged: &Damaged) -> Self {
        let draft = &damaged.draft;
        let certificate = draft.client_certificate.clone().map(ClientCertificate::new);
        let certificate = certificate.and_then(Result::ok);
        let token = draft.auth_token.clone().map(AuthToken::try_from);
        Self {
            id,
            url: draft.url.clone(),
            topics: draft.topics.clone(),
            filters: draft.filters.clone(),
            filter_connector: draft.filter_connector,
            auth_token: token.and_then(Result::ok).as_ref().map(AuthToken::masked),
            authentication: draft.authentication.as_ref().map(Authentication::masked),
            oauth2_token: None,
            client_certificate: certificate.as_ref().map(CertificateView::from),
            secrets: damaged.secrets.iter().map(SecretView::from).collect(),
            headers: draft.headers.keys().map(|name| (name.clone(), MASK)).collect(),
            schedule: draft.schedule.clone(),
            rate_limit: draft.rate_limit,
            deadline: draft.deadline.clone(),
            max_concurrency: draft.max_concurrency,
            description: draft.description.clone(),
            owner: draft.owner.clone(),
            labels: draft.labels.clone(),
            workfront: draft.workfront.clone(),
            format: draft.format,
            verification: draft.verification.map(VerificationView::not_yet),
            template: draft.template.clone(),
            filters_over_budget: None,
            not_called: None,
            created: damaged.created.to_string(),
            updated: damaged.updated.to_string(),
        }
    }
}

impl Registry {
    /// Views of `subscriptions`, with the reports of workers and what the settings refuse.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn views(&self, subscriptions: &[Subscription]) -> Result<Vec<View>, RegistryError> {
        let costly = self.store.costly_filters(clock::now().minus(COSTLY_FOR)).await?;
        let seen: HashMap<_, _> = costly.iter().map(|one| (one.subscription, one.seen)).collect();
        let view = |subscription: &Subscription| View {
            filters_over_budget: seen.get(&subscription.id).map(ToString::to_string),
            not_called: self.policy.check(&subscription.spec.url).err().map(|it| it.to_string()),
            ..View::from(subscription)
        };
        Ok(subscriptions.iter().map(view).collect())
    }

    /// The view of the subscription with this id, with the state of its token.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn view(&self, id: SubscriptionId) -> Result<View, RegistryError> {
        let subscription = self.get(id).await?;
        let authentication = subscription.spec.authentication.as_ref();
        let token = match authentication.and_then(Authentication::oauth2) {
            Some(credentials) => self.store.oauth2_token_status(credentials).await?,
            None => None,
        };
        let view = self.views(&[subscription]).await?.pop();
        let view = view.ok_or(RegistryError::NotFound { id })?;
        Ok(View { oauth2_token: token.map(TokenView::from), ..view })
    }
}
