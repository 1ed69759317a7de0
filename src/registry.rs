//! Subscriptions as people make, change and remove them.
//!
//! Every change is in the store before anybody is told of it. Workers are told over the broker and
//! follow within a second; when the broker cannot be reached they find out by themselves.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    broker::{Broker, control::Change},
    clock,
    config::Schedules,
    domain::{
        filter::Connector,
        id::SubscriptionId,
        signature::SigningSecret,
        subscription::{
            AuthToken, Draft, FieldError, SECRETS_MAX, Subscription, Terms, Version, WorkfrontForm,
        },
        time::UnixMillis,
    },
    store::{Listing, Page, Store, StoreError},
    telemetry::events,
};

/// Makes, changes and removes subscriptions; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    broker: Broker,
    schedules: Schedules,
}

/// Why a subscription was not made, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A field is wrong.
    #[error(transparent)]
    Field(FieldError),
    /// The same events go to the same URL already.
    #[error("subscription {existing} wants the same events at the same URL already")]
    Duplicate {
        /// The one that is there.
        existing: SubscriptionId,
    },
    /// No subscription has this id.
    #[error("there is no subscription {id}")]
    NotFound {
        /// The id asked for.
        id: SubscriptionId,
    },
    /// The store could not do its part.
    #[error("the subscriptions cannot be reached")]
    Store(#[source] StoreError),
    /// The operating system has no randomness to give.
    #[error("no signing secret could be made")]
    Randomness(#[source] getrandom::Error),
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Duplicate { existing } = error {
            Self::Duplicate { existing }
        } else if let StoreError::NotFound { id } = error {
            Self::NotFound { id }
        } else {
            Self::Store(error)
        }
    }
}

/// A subscription as it is shown: secrets masked, instants in RFC 3339.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Subscription)]
pub struct View {
    /// Its id.
    pub id: SubscriptionId,
    /// Where to send.
    pub url: String,
    /// Topic patterns.
    pub topics: Vec<String>,
    /// Filters in Workfront's form.
    pub filters: Vec<Value>,
    /// How the filters are joined.
    pub filter_connector: Connector,
    /// At most the last four characters.
    pub auth_token: Option<String>,
    /// Newest first.
    pub secrets: Vec<SecretView>,
    /// Names with masked values.
    pub headers: BTreeMap<String, &'static str>,
    /// The name of its schedule.
    pub schedule: Option<String>,
    /// Requests per second.
    pub rate_limit: Option<u32>,
    /// For people.
    pub description: Option<String>,
    /// Workfront's form, if events are sent in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workfront: Option<WorkfrontForm>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub updated: String,
}

/// A signing secret as it is shown.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SigningSecret)]
pub struct SecretView {
    /// A mask.
    pub secret: &'static str,
    /// RFC 3339; from then on it no longer signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

const MASK: &str = "****";

impl From<&Subscription> for View {
    fn from(subscription: &Subscription) -> Self {
        let terms = &subscription.terms;
        Self {
            id: subscription.id,
            url: terms.url.as_str().to_owned(),
            topics: terms.topics.iter().map(ToString::to_string).collect(),
            filters: terms.filters.to_json(),
            filter_connector: terms.filters.connector(),
            auth_token: terms.auth_token.as_ref().map(AuthToken::masked),
            secrets: terms.secrets.iter().map(SecretView::from).collect(),
            headers: terms.headers.keys().map(|name| (name.clone(), MASK)).collect(),
            schedule: terms.schedule.clone(),
            rate_limit: terms.rate_limit.map(NonZeroU32::get),
            description: terms.description.clone(),
            workfront: terms.workfront.clone(),
            created: subscription.created.to_string(),
            updated: subscription.updated.to_string(),
        }
    }
}

impl From<&SigningSecret> for SecretView {
    fn from(secret: &SigningSecret) -> Self {
        Self { secret: MASK, expires: secret.expires().map(|expires| expires.to_string()) }
    }
}

/// How long an old secret signs beside the new one when nobody says: Standard Webhooks leaves it
/// open, a day lets a receiver be deployed.
pub const OVERLAP_DEFAULT: Duration = Duration::from_hours(24);

/// The longest time that an old secret may go on to sign.
pub const OVERLAP_MAX: Duration = Duration::from_hours(24 * 30);

/// A subscription that was just made, or has a new secret.
#[derive(Debug)]
pub struct Made {
    /// The subscription.
    pub subscription: Subscription,
    /// The secret that was made for it, to be shown once.
    pub secret: Option<SigningSecret>,
}

impl Registry {
    /// A registry that writes to `store` and tells over `broker`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Broker, schedules: Schedules) -> Self {
        Self { store, broker, schedules }
    }

    /// Makes a subscription; a signing secret is made for it where the draft has none.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn make(&self, mut draft: Draft) -> Result<Made, RegistryError> {
        let secret = match draft.secrets {
            Some(_) => None,
            None => Some(new_secret()?),
        };
        draft.secrets = draft.secrets.or_else(|| Some(vec![secret.as_ref()?.reveal()]));
        let now = clock::now();
        let subscription = Subscription {
            id: SubscriptionId::new(clock::new_id()),
            terms: self.build(&draft)?,
            created: now,
            updated: now,
        };
        self.store.insert_subscription(&subscription).await?;
        self.tell().await;
        Ok(Made { subscription, secret })
    }

    /// Changes the fields named in `changes`, each as a whole; `null` sets a field back.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed by it.
    pub async fn change(
        &self,
        id: SubscriptionId,
        changes: Map<String, Value>,
    ) -> Result<Subscription, RegistryError> {
        let mut subscription = self.get(id).await?;
        let draft = changed(&subscription.terms, changes).map_err(RegistryError::Field)?;
        let mut terms = self.build(&draft)?;
        keep_expiries(&subscription.terms.secrets, &mut terms.secrets);
        subscription.terms = terms;
        self.replace(subscription).await
    }

    /// Makes a new signing secret. The present ones go on to sign for `overlap`, so that the
    /// receiver can be given the new one meanwhile.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing is changed by it.
    pub async fn rotate_secret(
        &self,
        id: SubscriptionId,
        overlap: Duration,
    ) -> Result<Made, RegistryError> {
        if overlap > OVERLAP_MAX {
            let message = format!("at most {} days", OVERLAP_MAX.as_secs() / 86_400);
            return Err(RegistryError::Field(FieldError::new("overlap", message)));
        }
        let mut subscription = self.get(id).await?;
        let now = clock::now();
        let secret = new_secret()?;
        subscription.terms.secrets =
            rotated(subscription.terms.secrets, &secret, now.plus(overlap), now);
        let subscription = self.replace(subscription).await?;
        Ok(Made { subscription, secret: Some(secret) })
    }

    async fn replace(&self, mut subscription: Subscription) -> Result<Subscription, RegistryError> {
        subscription.updated = clock::now();
        self.store.update_subscription(&subscription).await?;
        self.tell().await;
        Ok(subscription)
    }

    /// Removes a subscription. What is owed to it is parked when it comes up.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn remove(&self, id: SubscriptionId) -> Result<(), RegistryError> {
        if !self.store.remove_subscription(id).await? {
            return Err(RegistryError::NotFound { id });
        }
        self.tell().await;
        Ok(())
    }

    /// The subscription with this id.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn get(&self, id: SubscriptionId) -> Result<Subscription, RegistryError> {
        self.store.subscription(id).await?.ok_or(RegistryError::NotFound { id })
    }

    /// A page of all subscriptions, in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn page(&self, page: Page) -> Result<Listing, RegistryError> {
        Ok(self.store.subscriptions(page).await?)
    }

    /// At most `limit` subscriptions in Workfront's form behind the first `offset`, and how many
    /// there are.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn in_workfronts_form(
        &self,
        offset: u32,
        limit: u32,
    ) -> Result<(Listing, u64), RegistryError> {
        Ok(self.store.in_workfronts_form(offset, limit).await?)
    }

    /// The subscription with this id, if it is in Workfront's form.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn get_workfront(&self, id: SubscriptionId) -> Result<Subscription, RegistryError> {
        let subscription = self.get(id).await?;
        let has_form = subscription.terms.workfront.is_some();
        has_form.then_some(subscription).ok_or(RegistryError::NotFound { id })
    }

    /// Sets the version of subscriptions in Workfront's form.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; some of them may be changed by then. Repeat it.
    pub async fn set_versions(
        &self,
        subscriptions: Vec<Subscription>,
        version: Version,
    ) -> Result<(), RegistryError> {
        for mut subscription in subscriptions {
            let Some(form) = subscription.terms.workfront.as_mut() else { continue };
            if form.version != version {
                form.version = version;
                subscription.updated = clock::now();
                self.store.update_subscription(&subscription).await?;
            }
        }
        self.tell().await;
        Ok(())
    }

    fn build(&self, draft: &Draft) -> Result<Terms, RegistryError> {
        draft.build(&self.schedules.names()).map_err(RegistryError::Field)
    }

    async fn tell(&self) {
        if let Err(error) = self.broker.announce(&Change::Subscriptions).await {
            events::not_announced(&error.told());
        }
    }
}

/// A signing secret that nobody has.
fn new_secret() -> Result<SigningSecret, RegistryError> {
    let key = clock::random::<32>().map_err(RegistryError::Randomness)?;
    SigningSecret::from_bytes(key.to_vec())
        .map_err(|error| RegistryError::Field(FieldError::new("secrets", error)))
}

/// The new secret, then those that still sign, which do so until `end` at most.
fn rotated(
    present: Vec<SigningSecret>,
    newest: &SigningSecret,
    end: UnixMillis,
    now: UnixMillis,
) -> Vec<SigningSecret> {
    let limited = present.into_iter().map(|secret| {
        let expires = secret.expires().map_or(end, |expires| expires.min(end));
        secret.with_expiry(Some(expires))
    });
    let still = limited.filter(|secret| secret.signs_at(now));
    std::iter::once(newest.clone()).chain(still).take(SECRETS_MAX).collect()
}

/// A secret that stays keeps its end: a draft does not show it.
fn keep_expiries(present: &[SigningSecret], secrets: &mut [SigningSecret]) {
    for secret in secrets {
        if let Some(same) = present.iter().find(|present| present.is_same(secret)) {
            *secret = same.clone();
        }
    }
}

/// The draft of `terms` with `changes`; only shape and field names are checked here.
fn changed(terms: &Terms, changes: Map<String, Value>) -> Result<Draft, FieldError> {
    let draft = serde_json::to_value(Draft::from(terms))
        .map_err(|error| FieldError::new("subscription", error))?;
    let Value::Object(mut fields) = draft else {
        return Err(FieldError::new("subscription", "not an object"));
    };
    for (name, value) in changes {
        if !fields.contains_key(&name) {
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            let message = format!("no such field; one of {}", names.join(", "));
            return Err(FieldError::new(name, message));
        }
        if value.is_null() && matches!(name.as_str(), "url" | "topics" | "secrets") {
            let message = "cannot be set back; `secrets: []` sends requests unsigned";
            return Err(FieldError::new(name, message));
        }
        let value = if value.is_null() { defaults(&name) } else { value };
        fields.insert(name, value);
    }
    serde_path_to_error::deserialize(Value::Object(fields))
        .map_err(|error| FieldError::new(error.path().to_string(), error.inner()))
}

/// What a field is when nobody sets it.
fn defaults(name: &str) -> Value {
    match name {
        "filters" => Value::Array(Vec::new()),
        "headers" => Value::Object(Map::new()),
        "filter_connector" => Value::from(Connector::default().as_str()),
        _ => Value::Null,
    }
}
