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

    /// Keeps the consent of the endpoint of a subscription; workers follow within a second. It is of
    /// no use where the URL was changed meanwhile.
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
            if let Some(verification) = &mut subscription.spec.verification {
                verification.consent = Some(consent.clone());
            }
            if let Some(subscription) = self.replace(subscription).await? {
                self.announce().await;
                return Ok(subscription);
            }
        }
    }
}
