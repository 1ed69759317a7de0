//! Sources: the streams that homing reads.

use reqwest::Method;
use serde_json::json;

use super::Target;
use crate::{
    api::forms::Sources,
    cli::{failure::Failure, remote::Parameters},
};
use homing_domain::source::Reset;
use homing_livestream::View;

impl Target<'_> {
    /// All sources of the settings.
    pub(in crate::cli) async fn sources(self) -> Result<Sources, Failure> {
        match self {
            Self::Here(services) => {
                let sources = services.source_admin.list().await.map_err(Failure::Store)?;
                Ok(Sources { sources })
            }
            Self::There(api) => api.get(&["v1", "sources"], Parameters::default()).await,
        }
    }

    /// One source.
    pub(in crate::cli) async fn source(self, name: &str) -> Result<View, Failure> {
        match self {
            Self::Here(services) => services.source_admin.get(name).await.map_err(Failure::Source),
            Self::There(api) => api.get(&["v1", "sources", name], Parameters::default()).await,
        }
    }

    /// Ends the connections of a source until it is resumed.
    pub(in crate::cli) async fn pause_source(self, name: &str) -> Result<View, Failure> {
        match self {
            Self::Here(services) => {
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                services.source_admin.pause(name).await.map_err(Failure::Source)
            }
            Self::There(api) => {
                api.post(&["v1", "sources", name, "pause"], Parameters::default()).await
            }
        }
    }

    /// Has a source read again.
    pub(in crate::cli) async fn resume_source(self, name: &str) -> Result<View, Failure> {
        match self {
            Self::Here(services) => {
                // Announcing the change connects, which may create queues.
                Self::prepare(services).await?;
                services.source_admin.resume(name).await.map_err(Failure::Source)
            }
            Self::There(api) => {
                api.post(&["v1", "sources", name, "resume"], Parameters::default()).await
            }
        }
    }

    /// Has the next connect of a source begin with the oldest or the newest data.
    pub(in crate::cli) async fn reset_source(self, name: &str, to: Reset) -> Result<View, Failure> {
        match self {
            Self::Here(services) => {
                services.source_admin.reset(name, to).await.map_err(Failure::Source)
            }
            Self::There(api) => {
                let request = (Method::POST, &["v1", "sources", name, "reset"][..]);
                let document = json!({ "to": to.as_str() });
                api.submit(request, Parameters::default(), &document).await
            }
        }
    }
}
