//! Replays of the archive.

use reqwest::Method;

use super::Target;
use crate::{
    api::forms::Replays,
    cli::{failure::Failure, remote::Parameters},
};
use homing_delivery::archive::Preview;
use homing_domain::replay::{Replay, ReplayId, ReplaySelection};

impl Target<'_> {
    /// The events that a replay would send.
    pub(in crate::cli) async fn preview_replay(
        self,
        selection: ReplaySelection,
    ) -> Result<Preview, Failure> {
        match self {
            Self::Here(services) => {
                services.archive.preview(selection).await.map_err(Failure::Archive)
            }
            Self::There(api) => {
                let request = (Method::POST, &["v1", "replays", "preview"][..]);
                api.submit(request, Parameters::default(), &selection).await
            }
        }
    }

    /// Begins a replay.
    pub(in crate::cli) async fn create_replay(
        self,
        selection: ReplaySelection,
    ) -> Result<Replay, Failure> {
        match self {
            Self::Here(services) => {
                services.archive.begin(selection).await.map_err(Failure::Archive)
            }
            Self::There(api) => {
                let request = (Method::POST, &["v1", "replays"][..]);
                api.submit(request, Parameters::default(), &selection).await
            }
        }
    }

    /// The latest replays, newest first.
    pub(in crate::cli) async fn replays(self, limit: u32) -> Result<Replays, Failure> {
        match self {
            Self::Here(services) => {
                let replays = services.archive.list(limit).await.map_err(Failure::Archive)?;
                Ok(Replays { replays })
            }
            Self::There(api) => {
                let parameters = Parameters::default().with("limit", Some(limit));
                api.get(&["v1", "replays"], parameters).await
            }
        }
    }

    /// One replay.
    pub(in crate::cli) async fn replay(self, id: ReplayId) -> Result<Replay, Failure> {
        match self {
            Self::Here(services) => services.archive.get(id).await.map_err(Failure::Archive),
            Self::There(api) => {
                api.get(&["v1", "replays", &id.to_string()], Parameters::default()).await
            }
        }
    }

    /// Stops a replay.
    pub(in crate::cli) async fn stop_replay(self, id: ReplayId) -> Result<Replay, Failure> {
        match self {
            Self::Here(services) => services.archive.stop(id).await.map_err(Failure::Archive),
            Self::There(api) => {
                api.post(&["v1", "replays", &id.to_string(), "stop"], Parameters::default()).await
            }
        }
    }

    /// Has a replay go on.
    pub(in crate::cli) async fn resume_replay(self, id: ReplayId) -> Result<Replay, Failure> {
        match self {
            Self::Here(services) => services.archive.resume(id).await.map_err(Failure::Archive),
            Self::There(api) => {
                let id = id.to_string();
                api.post(&["v1", "replays", &id, "resume"], Parameters::default()).await
            }
        }
    }
}
