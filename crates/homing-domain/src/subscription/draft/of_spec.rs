//! The draft of a specification.

use std::num::NonZeroU32;

use super::Draft;
use crate::{signature::SigningSecret, subscription::SubscriptionSpec};

/// The draft that builds `spec` again; the starting point of a change.
impl From<&SubscriptionSpec> for Draft {
    fn from(spec: &SubscriptionSpec) -> Self {
        Self {
            url: spec.url.as_str().to_owned(),
            topics: spec.topics.iter().map(ToString::to_string).collect(),
            filters: spec.filters.to_json(),
            filter_connector: spec.filters.connector(),
            auth_token: spec.auth_token.as_ref().map(|token| token.reveal().to_owned()),
            authentication: spec.authentication.clone(),
            client_certificate: spec.client_certificate.as_ref().map(|it| it.reveal().clone()),
            secrets: Some(spec.secrets.iter().map(SigningSecret::reveal).collect()),
            signature_scheme: None,
            headers: spec.headers.clone(),
            schedule: spec.schedule.clone(),
            rate_limit: spec.rate_limit.map(NonZeroU32::get),
            deadline: spec.deadline.map(Self::written_deadline),
            max_concurrency: spec.max_concurrency.map(NonZeroU32::get),
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            labels: spec.labels.clone(),
            workfront: spec.workfront.clone(),
            format: spec.format.other_than_native(),
            verification: spec.verification.as_ref().map(|verification| verification.method),
            template: spec.template.clone(),
        }
    }
}
