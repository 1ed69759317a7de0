//! The layout of every page, and pages as answers.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use tracing::error;

use super::assets::{self, Paths};
use crate::{
    config::ApiSettings,
    registry::RegistryError,
    web::{App, AppState, jobs::TooManyJobs, permits::Busy},
};
use homing_broker::error::BrokerError;
use homing_delivery::circuits::CircuitReplayError;
use homing_delivery::parking::ParkingError;
use homing_domain::{audit::Actor, report::Chain};
use homing_livestream::SourceAdminError;
use homing_store::StoreError;

/// The place of a page in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NavItem {
    Overview,
    Endpoints,
    Deliveries,
    Parked,
    Subscriptions,
    Topics,
    Sources,
    Replays,
    Audit,
    Settings,
    Nowhere,
}

impl NavItem {
    /// The links of the navigation: target and text.
    const ALL: &[(Self, &'static str, &'static str)] = &[
        (Self::Overview, "/", "Overview"),
        (Self::Endpoints, "/endpoints", "Endpoints"),
        (Self::Deliveries, "/deliveries", "Deliveries"),
        (Self::Parked, "/parked", "Parked"),
        (Self::Subscriptions, "/subscriptions", "Subscriptions"),
        (Self::Topics, "/topics", "Topics"),
        (Self::Sources, "/sources", "Sources"),
        (Self::Replays, "/replays", "Replays"),
        (Self::Audit, "/audit", "Audit"),
        (Self::Settings, "/settings", "Settings"),
    ];
}

/// The installation, as its pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// Its name; empty: none.
    pub(super) name: String,
    /// The name of its colour; empty: that of every installation.
    pub(super) colour: &'static str,
}

impl From<&ApiSettings> for Site {
    fn from(settings: &ApiSettings) -> Self {
        Self { name: settings.name.clone(), colour: settings.colour.as_str() }
    }
}

/// A visitor of the pages of an installation.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// The name in the audit; `None`: unknown.
    pub(super) name: Option<Arc<str>>,
    pub(super) site: Arc<Site>,
    /// True if the scope allows changes.
    pub(super) may_write: bool,
    /// True if there is a session to end.
    pub(super) logged_in: bool,
}

impl Visitor {
    /// The name on pages; empty: unknown.
    pub(super) fn title(&self) -> &str {
        match self.name.as_deref() {
            Some(Actor::LOOPBACK) => "this machine",
            Some(name) => name,
            None => "",
        }
    }

    /// One who is not known.
    pub(super) fn unknown(app: &App) -> Self {
        let site = Arc::new(Site::from(&app.services.settings.api));
        Self { name: None, site, may_write: false, logged_in: false }
    }
}

/// The layout around a page.
pub(super) struct Layout {
    pub(super) title: String,
    pub(super) here: NavItem,
    pub(super) visitor: Visitor,
    pub(super) assets: &'static Paths,
    /// The navigation.
    pub(super) places: &'static [(NavItem, &'static str, &'static str)],
    pub(super) version: &'static str,
    /// The text of the search, if this is its page.
    pub(super) sought: String,
    /// No visitor is known, so there is no navigation.
    pub(super) is_closed: bool,
}

impl Layout {
    pub(super) fn new(title: impl Into<String>, here: NavItem, visitor: Visitor) -> Self {
        let (title, assets) = (title.into(), assets::paths());
        let (places, version) = (NavItem::ALL, env!("CARGO_PKG_VERSION"));
        Self {
            title,
            here,
            visitor,
            assets,
            places,
            version,
            sought: String::new(),
            is_closed: false,
        }
    }
}

/// A page as an answer.
pub(super) fn page(page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(failure) => {
            error!(error = %failure, "dashboard.not_rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page in place of the requested one, with a reason; [`errors`] renders it.
#[derive(Clone, Debug)]
pub(super) struct ErrorPage {
    status: StatusCode,
    why: String,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPageTemplate<'a> {
    layout: Layout,
    why: &'a str,
}

impl ErrorPage {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    pub(super) fn bad_request(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    pub(super) fn forbidden(why: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, why)
    }

    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, why)
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Renders an [`ErrorPage`] with the installation's name, and that of the visitor.
pub(super) async fn errors(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<ErrorPage>() else { return response };
    let visitor = response.extensions_mut().remove::<Visitor>();
    error.shown_to(visitor.unwrap_or_else(|| Visitor::unknown(&app)))
}

impl ErrorPage {
    fn shown_to(self, visitor: Visitor) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::SERVICE_UNAVAILABLE => "Not possible just now",
            _ => "That did not work",
        };
        let layout = Layout::new(title, NavItem::Nowhere, visitor);
        (self.status, page(&ErrorPageTemplate { layout, why: &self.why })).into_response()
    }
}

impl From<StoreError> for ErrorPage {
    fn from(failure: StoreError) -> Self {
        error!(error = failure.report(), "dashboard.store_failed");
        let why = "The store is unavailable. Deliveries go on meanwhile; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

impl From<ParkingError> for ErrorPage {
    fn from(failure: ParkingError) -> Self {
        match failure {
            ParkingError::Store(failure @ StoreError::TooBroad { .. }) => {
                Self::bad_request(format!("Not searched: {failure}."))
            }
            ParkingError::Store(failure) => failure.into(),
            ParkingError::Broker(failure) => failure.into(),
            failure @ (ParkingError::Unreadable(_) | ParkingError::NotRemoved { .. }) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{failure}."))
            }
        }
    }
}

impl From<BrokerError> for ErrorPage {
    fn from(failure: BrokerError) -> Self {
        error!(error = failure.report(), "dashboard.broker_failed");
        let why = format!("At the broker: {}. Nothing is lost; try again.", failure.summary());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

impl From<Busy> for ErrorPage {
    fn from(busy: Busy) -> Self {
        let why = match busy {
            Busy::Requests => {
                "Too many concurrent requests; nothing was done. Try again in a moment."
            }
            Busy::Parked => {
                "As many exports and actions on what is parked run as may at a time; this one was \
                 not started. Try again in a moment."
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

impl From<TooManyJobs> for ErrorPage {
    fn from(error: TooManyJobs) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{error}."))
    }
}

impl From<CircuitReplayError> for ErrorPage {
    fn from(failure: CircuitReplayError) -> Self {
        match failure {
            CircuitReplayError::Store(failure) => failure.into(),
            CircuitReplayError::Parking(failure) => failure.into(),
        }
    }
}

impl From<RegistryError> for ErrorPage {
    fn from(failure: RegistryError) -> Self {
        match failure {
            RegistryError::NotFound { .. } => Self::not_found(failure.to_string()),
            RegistryError::Field(_)
            | RegistryError::Fields(_)
            | RegistryError::Duplicate { .. }
            | RegistryError::OriginChanged { .. }
            | RegistryError::Quota(_) => Self::bad_request(failure.to_string()),
            RegistryError::Unreadable(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, failure.to_string())
            }
            RegistryError::Store(failure) => failure.into(),
            RegistryError::Randomness(_) => {
                let why = Chain(&failure).to_string();
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        }
    }
}

impl From<SourceAdminError> for ErrorPage {
    fn from(failure: SourceAdminError) -> Self {
        match failure {
            SourceAdminError::Unknown { .. } => Self::not_found(failure.to_string()),
            SourceAdminError::Store(failure) => failure.into(),
        }
    }
}
