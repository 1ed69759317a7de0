//! Creates, updates and deletes subscriptions.
//!
//! Every change is in the store before it is announced. Announcements go over the broker, and
//! workers follow within a second; while the broker cannot be reached they poll the store.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

mod change;
mod problems;
mod secrets;
mod verified;
mod view;
mod workfront;

pub use problems::{Problems, top_level};
pub use view::{CertificateView, SecretView, TokenView, VerificationView, View};

use change::KEEP_SECRETS;
use secrets::{new_secret, rotated};

use homing_broker::{Broker, control::Announcement};
use homing_delivery::{
    endpoint::{self, Policy},
    settings::Schedules,
    worker::Subscriptions,
};
use homing_domain::{
    audit::Actor,
    clock,
    id::SubscriptionId,
    signature::{SignatureScheme, SigningSecret},
    subscription::{Authentication, Draft, FieldError, FieldErrors, Subscription},
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{Corrupt, Damaged, Listing, Page, QuotaError, Store, StoreError};
use homing_telemetry::log_events;

/// Creates, updates and deletes subscriptions; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    broker: Broker,
    schedules: Schedules,
    policy: Policy,
    /// Those that this process knows, if it reads them.
    known: Arc<Subscriptions>,
}

/// The reason why a subscription was not created, updated or found.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A field is wrong.
    #[error(transparent)]
    Field(FieldError),
    /// All fields that are wrong.
    #[error(transparent)]
    Fields(FieldErrors),
    /// The same events go to the same URL already.
    #[error("subscription {existing} wants the same events at the same URL already")]
    Duplicate {
        /// The existing one.
        existing: SubscriptionId,
    },
    /// No subscription has this id.
    #[error("there is no subscription {id}")]
    NotFound {
        /// The requested id.
        id: SubscriptionId,
    },
    /// Secrets were given for another address than the one to which they would be sent.
    #[error(
        "the URL goes from {from} to {to}, and {} stored for {from}: give {} again in this request \
         (empty to send none), or set `{KEEP_SECRETS}` to true to send the stored ones to {to}",
        listed(.kept, " and "), listed(.kept, ", ")
    )]
    OriginChanged {
        /// Scheme, host and port of the present URL.
        from: String,
        /// Those of the new one.
        to: String,
        /// The fields with secrets that the change does not replace.
        kept: Vec<&'static str>,
    },
    /// A quota is used up.
    #[error(transparent)]
    Quota(QuotaError),
    /// It exists and cannot be read.
    #[error(transparent)]
    Unreadable(Box<Corrupt>),
    /// The store is unavailable, or refused.
    #[error("the subscriptions cannot be reached")]
    Store(#[source] StoreError),
    /// The operating system has no randomness to give.
    #[error("no signing secret could be generated")]
    Randomness(#[source] getrandom::Error),
}

/// `a` and `b`.
fn listed(fields: &[&str], joint: &str) -> String {
    let names: Vec<_> = fields.iter().map(|name| format!("`{name}`")).collect();
    names.join(joint)
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Duplicate { existing } = error {
            Self::Duplicate { existing }
        } else if let StoreError::NotFound { id } = error {
            Self::NotFound { id }
        } else if let StoreError::Corrupt(corrupt) = error {
            Self::Unreadable(corrupt)
        } else if let StoreError::Unreadable(corrupt) = error {
            Self::Field(FieldError::new(corrupt.field, corrupt.why))
        } else if let StoreError::Quota(error) = error {
            Self::Quota(error)
        } else {
            Self::Store(error)
        }
    }
}

/// The default time for which an old secret also signs: Standard Webhooks leaves it open, a day
/// suffices to deploy a receiver.
pub const OVERLAP_DEFAULT: Duration = Duration::from_hours(24);

/// The longest time for which an old secret may also sign.
pub const MAX_OVERLAP: Duration = Duration::from_hours(24 * 30);

/// A new subscription, or one with a new secret.
#[derive(Debug)]
pub struct Created {
    /// The subscription.
    pub subscription: Subscription,
    /// The generated secret that the receiver needs, to be shown once; `None`: there is none, or the
    /// receiver needs only its public key.
    pub secret: Option<SigningSecret>,
}

impl Created {
    fn new(subscription: Subscription, generated: Option<SigningSecret>) -> Self {
        let secret = generated.filter(|secret| secret.public_key().is_none());
        Self { subscription, secret }
    }
}

impl Registry {
    /// A registry that writes to `store`, announces over `broker` and to `known`, and takes what
    /// `policy` allows.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Broker,
        schedules: Schedules,
        policy: Policy,
        known: Arc<Subscriptions>,
    ) -> Self {
        Self { store, broker, schedules, policy, known }
    }

    /// The same for the changes of `actor`.
    #[must_use]
    pub fn by(&self, actor: &Actor) -> Self {
        Self { store: self.store.by(actor), ..self.clone() }
    }

    /// Creates a subscription, with a new signing secret if the draft has none.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn create(&self, mut draft: Draft) -> Result<Created, RegistryError> {
        let secret = match (&draft.secrets, draft.signature_scheme) {
            (Some(_), None) => None,
            (None, scheme) => Some(new_secret(scheme.unwrap_or_default())?),
            (Some(_), Some(_)) => {
                let message = "is for a secret that is generated; `secrets` are given";
                return Err(RegistryError::Field(FieldError::new("signature_scheme", message)));
            }
        };
        draft.secrets = draft.secrets.or_else(|| Some(vec![secret.as_ref()?.reveal()]));
        EndpointUrl::typed(&draft.url)
            .map_err(|error| RegistryError::Field(FieldError::new("url", error)))?;
        let id = SubscriptionId::new(clock::new_id());
        let now = clock::now();
        let subscription = self.build(id, &draft, (now, now))?;
        check_validity(&subscription, now)?;
        self.check_policy(&subscription, |_| true)?;
        self.store.insert_subscription(&subscription).await?;
        self.announce().await;
        Ok(Created::new(subscription, secret))
    }

    /// Changes the fields in `changes`, each as a whole; `null` sets a field back. A subscription
    /// that cannot be read is repaired by new values for its unreadable fields.
    ///
    /// A URL with another origin is refused while a secret is stored that was given for the present
    /// one, unless a new one is given or `keep_secrets` is true.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing was changed.
    pub async fn update(
        &self,
        id: SubscriptionId,
        changes: Map<String, Value>,
    ) -> Result<Subscription, RegistryError> {
        loop {
            let present = self.present(id).await?;
            let draft = change::changed(&present, changes.clone())?;
            let mut subscription = self.build(id, &draft, (present.created, present.updated))?;
            if changes.contains_key("client_certificate") {
                check_validity(&subscription, clock::now())?;
            }
            self.check_policy(&subscription, |field| changes.contains_key(field))?;
            change::keep_expiries(&present.secrets, &mut subscription.spec.secrets);
            if let Some(verification) = &mut subscription.spec.verification {
                verification.consent.clone_from(&present.consent);
            }
            let forms = (&present.draft.workfront, &mut subscription.spec.workfront);
            if let (Some(former), Some(form)) = forms {
                form.keep_version_time(former, clock::now());
            }
            if let Some(changed) = self.replace(subscription).await? {
                self.announce().await;
                return Ok(changed);
            }
        }
    }

    /// The subscription with this id, as far as it can be read.
    async fn present(&self, id: SubscriptionId) -> Result<Damaged, RegistryError> {
        match self.get(id).await {
            Ok(subscription) => Ok(subscription.into()),
            Err(RegistryError::Unreadable(corrupt)) => {
                self.store.damaged_subscription(id).await?.ok_or(RegistryError::Unreadable(corrupt))
            }
            Err(error) => Err(error),
        }
    }

    /// The subscription with this id, as far as it can be read, and the errors.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn as_far_as_readable(
        &self,
        id: SubscriptionId,
    ) -> Result<(View, Vec<FieldError>), RegistryError> {
        match self.get(id).await {
            Ok(subscription) => Ok((View::from(&subscription), Vec::new())),
            Err(RegistryError::Unreadable(_)) => {
                let damaged = self.present(id).await?;
                Ok((View::of_damaged(id, &damaged), damaged.flaws))
            }
            Err(error) => Err(error),
        }
    }

    /// Creates a new signing secret of `scheme`; `None`: of that of the newest present one. The
    /// present ones also sign for `overlap`, so that the receiver can be given the new one
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; nothing was changed.
    pub async fn rotate_secret(
        &self,
        id: SubscriptionId,
        overlap: Duration,
        scheme: Option<SignatureScheme>,
    ) -> Result<Created, RegistryError> {
        if overlap > MAX_OVERLAP {
            let message = format!("at most {} days", MAX_OVERLAP.as_secs() / 86_400);
            return Err(RegistryError::Field(FieldError::new("overlap", message)));
        }
        loop {
            let mut subscription = self.get(id).await?;
            let present = subscription.spec.secrets.first().map(SigningSecret::scheme);
            let secret = new_secret(scheme.or(present).unwrap_or_default())?;
            let now = clock::now();
            subscription.spec.secrets =
                rotated(subscription.spec.secrets, &secret, now.plus(overlap), now);
            if let Some(subscription) = self.replace(subscription).await? {
                self.announce().await;
                return Ok(Created::new(subscription, Some(secret)));
            }
        }
    }

    /// Writes a subscription whose `updated` is unchanged since it was read. `None`: another change
    /// came first, so it has to be read again.
    async fn replace(
        &self,
        mut subscription: Subscription,
    ) -> Result<Option<Subscription>, RegistryError> {
        let read = subscription.updated;
        // Later in any case, so that no two changes look like one.
        subscription.updated = clock::now().max(read.plus(Duration::from_millis(1)));
        match self.store.update_subscription(&subscription, read).await {
            Err(StoreError::Outdated { .. }) => Ok(None),
            written => Ok(written.map(|()| Some(subscription))?),
        }
    }

    /// Deletes a subscription. Its pending deliveries are parked when they come due.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn delete(&self, id: SubscriptionId) -> Result<(), RegistryError> {
        if !self.store.remove_subscription(id).await? {
            return Err(RegistryError::NotFound { id });
        }
        self.announce().await;
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

    /// A page of all subscriptions, oldest first.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn page(&self, page: Page) -> Result<Listing, RegistryError> {
        Ok(self.store.subscriptions(page).await?)
    }

    /// Checks the draft by building the subscription and a request.
    fn build(
        &self,
        id: SubscriptionId,
        draft: &Draft,
        (created, updated): (UnixMillis, UnixMillis),
    ) -> Result<Subscription, RegistryError> {
        let spec = draft.build(&self.schedules.names()).map_err(RegistryError::Fields)?;
        let subscription = Subscription { id, spec, created, updated };
        endpoint::rehearse(&subscription).map_err(RegistryError::Field)?;
        Ok(subscription)
    }

    /// Checks the fields that are `new` by the settings. Others may be there since these were
    /// different.
    fn check_policy(
        &self,
        subscription: &Subscription,
        is_new: impl Fn(&str) -> bool,
    ) -> Result<(), RegistryError> {
        let spec = &subscription.spec;
        let url = if is_new("url") { self.policy.check_field(&spec.url) } else { Ok(()) };
        let authentication = spec.authentication.as_ref().filter(|_| is_new("authentication"));
        let token = match authentication.and_then(Authentication::oauth2) {
            Some(credentials) => credentials.token_endpoint().and_then(|url| {
                let checked = self.policy.check(&url);
                checked.map_err(|why| FieldError::new("authentication.oauth2.token_url", why))
            }),
            None => Ok(()),
        };
        let deadline = spec.deadline.filter(|_| is_new("deadline"));
        let deadline = self.policy.check_deadline(deadline);
        url.and(token).and(deadline).map_err(RegistryError::Field)
    }

    async fn announce(&self) {
        // What is published over this process next finds them. One that fails is repeated by itself.
        if self.known.are_loaded() {
            drop(self.known.refresh().await);
        }
        if let Err(error) = self.broker.announce(&Announcement::Subscriptions).await {
            log_events::not_announced(&error.report());
        }
    }
}

/// Refuses a client certificate that has expired, or is not valid yet.
fn check_validity(subscription: &Subscription, now: UnixMillis) -> Result<(), RegistryError> {
    let mut certificate = subscription.spec.client_certificate.iter();
    certificate.try_for_each(|it| it.check_validity(now)).map_err(RegistryError::Field)
}
