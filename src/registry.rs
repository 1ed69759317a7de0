//! Subscriptions as people make, change and remove them.
//!
//! Every change is in the store before anybody is told of it. Workers are told over the broker and
//! follow within a second; when the broker cannot be reached they find out by themselves.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

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
        subscription::{AuthToken, Draft, FieldError, Subscription, Terms},
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
#[derive(Clone, Debug, Serialize)]
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
    /// One mask for each signing secret.
    pub secrets: Vec<&'static str>,
    /// Names with masked values.
    pub headers: BTreeMap<String, &'static str>,
    /// The name of its schedule.
    pub schedule: Option<String>,
    /// Requests per second.
    pub rate_limit: Option<u32>,
    /// For people.
    pub description: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub updated: String,
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
            secrets: terms.secrets.iter().map(|_| MASK).collect(),
            headers: terms.headers.keys().map(|name| (name.clone(), MASK)).collect(),
            schedule: terms.schedule.clone(),
            rate_limit: terms.rate_limit.map(NonZeroU32::get),
            description: terms.description.clone(),
            created: subscription.created.to_string(),
            updated: subscription.updated.to_string(),
        }
    }
}

/// A subscription that was just made.
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
        subscription.terms = self.build(&draft)?;
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
///
/// # Errors
///
/// [`RegistryError::Randomness`].
pub fn new_secret() -> Result<SigningSecret, RegistryError> {
    let key = clock::random_key().map_err(RegistryError::Randomness)?;
    SigningSecret::from_bytes(key.to_vec())
        .map_err(|error| RegistryError::Field(FieldError::new("secrets", error)))
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
