//! Subscriptions.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use super::Target;
use crate::{
    api::forms,
    cli::{failure::Failure, remote::Parameters},
    registry::{OVERLAP_DEFAULT, View},
    services::Services,
    test_event::{self, TestEvent, TestEventError, TestEventResponse},
    verification::{self, VerificationError, VerificationResponse},
};
use homing_delivery::endpoint::Endpoints;
use homing_domain::{
    id::SubscriptionId,
    signature::SignatureScheme,
    subscription::{Draft, FieldError},
};
use homing_store::{MAX_PAGE_LIMIT, Page};

/// A test event as the API takes it.
#[derive(Serialize)]
struct WantedTest {
    topic: Option<String>,
    body: Option<Box<RawValue>>,
}

/// The fields of a new subscription, as JSON: those of the API.
pub(in crate::cli) type NewSubscription = Map<String, Value>;

impl Target<'_> {
    /// Creates a subscription.
    pub(in crate::cli) async fn create_subscription(
        self,
        fields: NewSubscription,
    ) -> Result<forms::CreatedSubscription, Failure> {
        match self {
            Self::Here(services) => {
                let draft: Draft = serde_json::from_value(Value::Object(fields))
                    .map_err(|error| Failure::Field(FieldError::new("subscription", error)))?;
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                services.registry.create(draft).await.map(Into::into).map_err(Failure::Registry)
            }
            Self::There(api) => {
                let request = (Method::POST, &["v1", "subscriptions"][..]);
                api.submit(request, Parameters::default(), &fields).await
            }
        }
    }

    /// A page of subscriptions, oldest first.
    pub(in crate::cli) async fn subscriptions(
        self,
        page: Page,
    ) -> Result<forms::SubscriptionsPage, Failure> {
        match self {
            Self::Here(services) => forms::SubscriptionsPage::read(&services.registry, page)
                .await
                .map_err(Failure::Registry),
            Self::There(api) => {
                let parameters =
                    Parameters::default().with("after", page.after).with("limit", Some(page.limit));
                api.get(&["v1", "subscriptions"], parameters).await
            }
        }
    }

    /// All subscriptions, oldest first.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`]: one of them cannot be read.
    pub(in crate::cli) async fn all_subscriptions(self) -> Result<Vec<View>, Failure> {
        let mut page = Page { after: None, limit: MAX_PAGE_LIMIT };
        let mut all = Vec::new();
        loop {
            let read = self.subscriptions(page).await?;
            if let Some(corrupt) = read.corrupt.first() {
                let (id, field, why) = (corrupt.id, &corrupt.field, &corrupt.message);
                let text = format!("subscription {id} cannot be read: `{field}`: {why}");
                return Err(Failure::NotFound(text));
            }
            all.extend(read.subscriptions);
            match read.next {
                Some(next) => page.after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One subscription.
    pub(in crate::cli) async fn subscription(self, id: SubscriptionId) -> Result<View, Failure> {
        match self {
            Self::Here(services) => services.registry.view(id).await.map_err(Failure::Registry),
            Self::There(api) => {
                api.get(&["v1", "subscriptions", &id.to_string()], Parameters::default()).await
            }
        }
    }

    /// Changes fields of a subscription.
    pub(in crate::cli) async fn update_subscription(
        self,
        id: SubscriptionId,
        changes: Map<String, Value>,
    ) -> Result<forms::CreatedSubscription, Failure> {
        let view = match self {
            Self::Here(services) => {
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                let updated = services.registry.update(id, changes).await;
                View::from(&updated.map_err(Failure::Registry)?)
            }
            Self::There(api) => {
                let id = id.to_string();
                let request = (Method::PATCH, &["v1", "subscriptions", &id][..]);
                api.submit(request, Parameters::default(), &changes).await?
            }
        };
        Ok(forms::CreatedSubscription { view, secret: None })
    }

    /// Creates a new signing secret.
    pub(in crate::cli) async fn rotate_secret(
        self,
        id: SubscriptionId,
        overlap: Option<Duration>,
        scheme: Option<SignatureScheme>,
    ) -> Result<forms::CreatedSubscription, Failure> {
        match self {
            Self::Here(services) => {
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                let overlap = overlap.unwrap_or(OVERLAP_DEFAULT);
                let rotated = services.registry.rotate_secret(id, overlap, scheme).await;
                rotated.map(Into::into).map_err(Failure::Registry)
            }
            Self::There(api) => {
                let scheme = scheme.map(|scheme| match scheme {
                    SignatureScheme::V1 => "v1",
                    SignatureScheme::V1a => "v1a",
                });
                let overlap = overlap.map(|overlap| format!("{}ms", overlap.as_millis()));
                let parameters =
                    Parameters::default().with("overlap", overlap).with("signature_scheme", scheme);
                let id = id.to_string();
                api.post(&["v1", "subscriptions", &id, "rotate-secret"], parameters).await
            }
        }
    }

    /// Deletes a subscription.
    pub(in crate::cli) async fn delete_subscription(
        self,
        id: SubscriptionId,
    ) -> Result<(), Failure> {
        match self {
            Self::Here(services) => {
                Self::prepare(services).await?;
                services.registry.delete(id).await.map_err(Failure::Registry)
            }
            Self::There(api) => api.delete(&["v1", "subscriptions", &id.to_string()]).await,
        }
    }

    /// Sends a test event to the endpoint of a subscription: from here, or from there.
    pub(in crate::cli) async fn test_subscription(
        self,
        id: SubscriptionId,
        topic: Option<String>,
        body: Option<Box<RawValue>>,
    ) -> Result<TestEventResponse, Failure> {
        let services = match self {
            Self::Here(services) => services,
            Self::There(api) => {
                let id = id.to_string();
                let request = (Method::POST, &["v1", "subscriptions", &id, "test"][..]);
                let event = WantedTest { topic, body };
                return api.submit(request, Parameters::default(), &event).await;
            }
        };
        let subscription = services.registry.get(id).await.map_err(Failure::Registry)?;
        let endpoints = endpoints(services)?;
        let event = TestEvent { topic, body };
        let sent = test_event::send(&endpoints, &subscription, event).await;
        sent.map_err(|error| match error {
            TestEventError::Topic(error) => Failure::Usage(format!("--topic: {error}")),
            TestEventError::Body(error) => Failure::Usage(format!("--data: {error}")),
            TestEventError::Unverified(error) => Failure::Field(error),
            TestEventError::Request(error) => Failure::Request(error),
        })
    }

    /// Asks the endpoint of a subscription for its consent: from here, or from there.
    pub(in crate::cli) async fn verify_subscription(
        self,
        id: SubscriptionId,
    ) -> Result<VerificationResponse, Failure> {
        match self {
            Self::Here(services) => {
                let endpoints = endpoints(services)?;
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                let verified = verification::verify(&endpoints, &services.registry, id).await;
                verified.map_err(|error| match error {
                    VerificationError::Registry(error) => Failure::Registry(error),
                    VerificationError::Request(error) => Failure::Request(error),
                })
            }
            Self::There(api) => {
                let id = id.to_string();
                let parameters = Parameters::default();
                api.post(&["v1", "subscriptions", &id, "verify"], parameters).await
            }
        }
    }
}

fn endpoints(services: &Services) -> Result<Endpoints, Failure> {
    let endpoints = Endpoints::new(&services.settings.endpoint).map_err(Failure::Endpoints)?;
    Ok(endpoints.with_token_store(Arc::clone(&services.store)))
}
