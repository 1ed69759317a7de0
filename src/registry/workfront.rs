//! Subscriptions in Workfront's form.

use super::{Registry, RegistryError};
use homing_domain::{
    clock,
    id::SubscriptionId,
    subscription::{Subscription, Version},
};
use homing_store::{Listing, Page};

impl Registry {
    /// A page of the subscriptions in Workfront's form, oldest first.
    ///
    /// # Errors
    ///
    /// [`RegistryError`].
    pub async fn page_in_workfronts_form(&self, page: Page) -> Result<Listing, RegistryError> {
        Ok(self.store.page_in_workfronts_form(page).await?)
    }

    /// At most `limit` subscriptions in Workfront's form after the first `offset`, and their total.
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
        let has_form = subscription.spec.workfront.is_some();
        has_form.then_some(subscription).ok_or(RegistryError::NotFound { id })
    }

    /// Sets the version of subscriptions in Workfront's form.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]; some of them may be changed. Call it again.
    pub async fn set_versions(
        &self,
        subscriptions: Vec<Subscription>,
        version: Version,
    ) -> Result<(), RegistryError> {
        for mut subscription in subscriptions {
            let id = subscription.id;
            while let Some(form) = &mut subscription.spec.workfront
                && form.version != version
            {
                form.version = version;
                form.version_updated = Some(clock::now());
                if self.replace(subscription).await?.is_some() {
                    break;
                }
                subscription = self.get(id).await?;
            }
        }
        self.announce().await;
        Ok(())
    }
}
