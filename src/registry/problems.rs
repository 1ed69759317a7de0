//! The problems of a subscription that a form is about to create or change: all of them at once,
//! without writing anything.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Registry, RegistryError,
    change::{self, KEEP_SECRETS},
    check_validity,
};
use homing_domain::{
    clock,
    id::SubscriptionId,
    subscription::{Draft, FieldError},
    url::EndpointUrl,
};

/// The problems of a change.
#[derive(Debug, Default)]
pub struct Problems {
    /// Fields that are wrong.
    pub fields: Vec<FieldError>,
    /// The refusal of another address, for which no consent was given.
    pub origin: Option<RegistryError>,
}

impl Registry {
    /// The fields because of which [`create`](Self::create) would refuse `draft`.
    #[must_use]
    pub fn problems(&self, draft: &Draft) -> Vec<FieldError> {
        self.problems_of(draft, |_| true)
    }

    /// The problems because of which [`update`](Self::update) would refuse `changes`.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: the subscription is not known.
    pub async fn problems_of_change(
        &self,
        id: SubscriptionId,
        mut changes: Map<String, Value>,
    ) -> Result<Problems, RegistryError> {
        let present = self.present(id).await?;
        let mut problems = Problems::default();
        loop {
            match change::changed(&present, changes.clone()) {
                Ok(draft) => {
                    let is_new = |field: &str| changes.contains_key(field);
                    problems.fields.extend(self.problems_of(&draft, is_new));
                    return Ok(problems);
                }
                Err(error @ RegistryError::OriginChanged { .. }) => {
                    problems.origin = Some(error);
                    changes.insert(KEEP_SECRETS.to_owned(), Value::Bool(true));
                }
                Err(RegistryError::Field(error)) => {
                    // The others are checked without it.
                    let removed = changes.remove(top_level(&error.field));
                    problems.fields.push(error);
                    if removed.is_none() {
                        return Ok(problems);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn problems_of(&self, draft: &Draft, is_new: impl Fn(&str) -> bool) -> Vec<FieldError> {
        let mut found = Vec::new();
        if is_new("url")
            && let Err(error) = EndpointUrl::typed(&draft.url)
        {
            found.push(FieldError::new("url", error));
        }
        let (id, now) = (SubscriptionId::new(Uuid::nil()), clock::now());
        match self.build(id, draft, (now, now)) {
            Ok(subscription) => {
                found.extend(check_validity(&subscription, now).err().and_then(field));
                found.extend(self.check_policy(&subscription, is_new).err().and_then(field));
            }
            Err(RegistryError::Fields(errors)) => found.extend(errors),
            Err(error) => found.extend(field(error)),
        }
        let mut seen = BTreeSet::new();
        found.retain(|error| seen.insert(error.field.clone()));
        found
    }
}

/// `authentication` of `authentication.oauth2.scope`.
#[must_use]
pub fn top_level(field: &str) -> &str {
    field.split(['[', '.']).next().unwrap_or_default()
}

/// The field that is wrong, if that is the error.
fn field(error: RegistryError) -> Option<FieldError> {
    if let RegistryError::Field(error) = error { Some(error) } else { None }
}
