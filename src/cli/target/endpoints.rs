//! Endpoints and their circuits.

use reqwest::Method;
use serde_json::json;

use super::Target;
use crate::{
    api::forms,
    cli::{failure::Failure, remote::Parameters},
    services::Services,
};
use homing_delivery::circuits::{SetError, View};
use homing_domain::url::EndpointUrl;
use homing_store::{CircuitPage, Intervention};

impl Target<'_> {
    /// A page of endpoints.
    pub(in crate::cli) async fn endpoints(
        self,
        page: &CircuitPage,
    ) -> Result<forms::EndpointsPage, Failure> {
        match self {
            Self::Here(services) => {
                // Counting connects to the broker, which declares what is missing there.
                Self::prepare(services).await?;
                services.circuits.views(page).await.map(Into::into).map_err(Failure::Store)
            }
            Self::There(api) => {
                let parameters = Parameters::default()
                    .with("state", page.state)
                    .with("after", page.after.as_ref())
                    .with("limit", Some(page.limit));
                api.get(&["v1", "endpoints"], parameters).await
            }
        }
    }

    /// One endpoint, with what its circuit had parked on request.
    pub(in crate::cli) async fn endpoint(
        self,
        url: &EndpointUrl,
        with_parked: bool,
    ) -> Result<forms::EndpointShown, Failure> {
        let services = match self {
            Self::Here(services) => services,
            Self::There(api) => {
                let parameters = Parameters::default()
                    .with("url", Some(url.as_str()))
                    .flag("parked", with_parked);
                return api.get(&["v1", "endpoints", "get"], parameters).await;
            }
        };
        // Counting connects to the broker, which declares what is missing there.
        Self::prepare(services).await?;
        let view = services.circuits.view(url).await.map_err(Failure::Store)?;
        if !with_parked {
            return Ok(forms::EndpointShown { view, parked: None, arriving: None });
        }
        let counted = services.circuits.count_parked_by_circuit(&services.parking, url).await;
        let counted = counted.map_err(Failure::ParkedByCircuit)?;
        let parked = counted.arriving.messages.map(|_| counted.matched);
        Ok(forms::EndpointShown { view, parked, arriving: Some(counted.arriving) })
    }

    /// Disables an endpoint.
    pub(in crate::cli) async fn disable(
        self,
        url: &EndpointUrl,
        is_forced: bool,
    ) -> Result<View, Failure> {
        match self {
            Self::Here(services) => set(services, url, Intervention::Disable, is_forced).await,
            Self::There(api) => {
                let request = (Method::POST, &["v1", "endpoints", "disable"][..]);
                let document = json!({ "url": url, "force": is_forced });
                let set: forms::EndpointSet =
                    api.submit(request, Parameters::default(), &document).await?;
                Ok(set.view)
            }
        }
    }

    /// Has a probe of an endpoint made now.
    pub(in crate::cli) async fn probe(self, url: &EndpointUrl) -> Result<View, Failure> {
        match self {
            Self::Here(services) => set(services, url, Intervention::Probe, false).await,
            Self::There(api) => {
                let request = (Method::POST, &["v1", "endpoints", "probe"][..]);
                let document = json!({ "url": url });
                let shown: forms::EndpointShown =
                    api.submit(request, Parameters::default(), &document).await?;
                Ok(shown.view)
            }
        }
    }
}

/// Sets the circuit of `url` here.
pub(in crate::cli) async fn set(
    services: &Services,
    url: &EndpointUrl,
    intervention: Intervention,
    is_forced: bool,
) -> Result<View, Failure> {
    Target::prepare(services).await?;
    let set = if is_forced {
        services.circuits.set(url, intervention).await.map_err(SetError::Store)
    } else {
        services.circuits.set_known(url, intervention).await
    };
    let circuit = set.map_err(|error| match error {
        SetError::Store(error) => Failure::Store(error),
        unknown @ SetError::Unknown { .. } => {
            Failure::NotFound(format!("{unknown}; --force sets it nevertheless"))
        }
    })?;
    Ok(View::of(url, &circuit))
}
