//! Consents of endpoints.

use super::{Registry, RegistryError};
use homing_domain::{
    id::SubscriptionId,
    subscription::{Consent, FieldError, Subscription},
};

impl Registry {
    /// The subscription with this id, whose endpoint is to be asked for its consent.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: its field `verification` does not say how, among others.
    pub async fn to_be_verified(&self, id: SubscriptionId) -> Result<Subscription, RegistryError> {
        let subscription = self.get(id).await?;
        if subscription.spec.verification.is_none() {
            let message = "is not set, so everything is sent; set it to `handshake` or `challenge`";
            return Err(RegistryError::Field(FieldError::new("verification", message)));
        }
        Ok(subscription)
    }

    /// Keeps the consent of the endpoint of a subscription; workers follow within a second. One that
    /// is not of the present URL, or not of the present way of asking, changes nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn verified(
        &self,
        id: SubscriptionId,
        consent: &Consent,
    ) -> Result<Subscription, RegistryError> {
        loop {
            let mut subscription = self.to_be_verified(id).await?;
            let spec = &mut subscription.spec;
            let verification = spec.verification.as_mut();
            if !verification.is_some_and(|it| it.keep(consent, &spec.url)) {
                return Ok(subscription);
            }
            if let Some(subscription) = self.replace(subscription).await? {
                self.announce().await;
                return Ok(subscription);
            }
        }
    }
}
