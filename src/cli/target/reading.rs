//! Reads: attempts, deliveries, events, errors, timelines, topics, history, audit, ledger.

use super::Target;
use crate::{
    api::forms,
    cli::{
        failure::Failure,
        remote::{Parameters, Remote},
    },
    history::{
        DeliveriesView, ErrorsView, EventsView, Explanation, HoursView, PageView, RecordView,
        TopicsView,
    },
};
use homing_domain::{
    clock, history::Series, id::SubscriptionId, record::RecordId, time::UnixMillis, topic::Topic,
};
use homing_store::{AuditPage, DeliveryPage, ErrorFilter, RecordPage, TopicPage};

impl Target<'_> {
    /// A page of the attempt log.
    pub(in crate::cli) async fn attempts(self, page: &RecordPage) -> Result<PageView, Failure> {
        let RecordPage { filter, after, limit } = page;
        match self {
            Self::Here(services) => services.history.page(page).await.map_err(Failure::Store),
            Self::There(api) => {
                let parameters = Parameters::default()
                    .with("event", filter.event.as_ref())
                    .with("delivery", filter.delivery)
                    .with("subscription", filter.subscription)
                    .with("url", filter.url.as_ref())
                    .with("outcome", filter.classes.map(|classes| classes.name()))
                    .with("status", filter.status)
                    .at("since", filter.since)
                    .at("until", filter.until)
                    .with("after", *after)
                    .with("limit", Some(limit));
                api.get(&["v1", "attempts"], parameters).await
            }
        }
    }

    /// One attempt with its payload; `None`: the log has none with this id.
    pub(in crate::cli) async fn attempt(self, id: RecordId) -> Result<Option<RecordView>, Failure> {
        match self {
            Self::Here(services) => services.history.attempt(id).await.map_err(Failure::Store),
            Self::There(api) => attempt(api, id).await,
        }
    }

    /// A page of deliveries.
    pub(in crate::cli) async fn deliveries(
        self,
        page: &DeliveryPage,
    ) -> Result<DeliveriesView, Failure> {
        match self {
            Self::Here(services) => services.history.deliveries(page).await.map_err(Failure::Store),
            Self::There(api) => api.get(&["v1", "deliveries"], of_deliveries(page)).await,
        }
    }

    /// A page of events.
    pub(in crate::cli) async fn events(self, page: &DeliveryPage) -> Result<EventsView, Failure> {
        match self {
            Self::Here(services) => services.history.events(page).await.map_err(Failure::Store),
            Self::There(api) => api.get(&["v1", "events"], of_deliveries(page)).await,
        }
    }

    /// Failed attempts by what failed.
    pub(in crate::cli) async fn errors(self, filter: &ErrorFilter) -> Result<ErrorsView, Failure> {
        match self {
            Self::Here(services) => services.history.errors(filter).await.map_err(Failure::Store),
            Self::There(api) => {
                let parameters = Parameters::default()
                    .with("url", filter.url.as_ref())
                    .at("since", filter.since)
                    .with("limit", Some(filter.limit));
                api.get(&["v1", "errors"], parameters).await
            }
        }
    }

    /// The timeline of an event, with the payloads of its newest attempts on request.
    pub(in crate::cli) async fn explain(
        self,
        event: &str,
        topic: Option<Topic>,
        with_payloads: bool,
    ) -> Result<Explanation, Failure> {
        match self {
            Self::Here(services) => {
                let explained = services.history.explain(event, topic).await;
                let mut explanation = explained.map_err(Failure::Store)?;
                if with_payloads {
                    let added = services.history.add_payloads(&mut explanation).await;
                    added.map_err(Failure::Store)?;
                }
                Ok(explanation)
            }
            Self::There(api) => {
                let parameters =
                    Parameters::default().with("topic", topic).flag("payloads", with_payloads);
                api.get(&["v1", "events", event], parameters).await
            }
        }
    }

    /// A page of the topics of which events came.
    pub(in crate::cli) async fn topics(self, page: &TopicPage) -> Result<TopicsView, Failure> {
        match self {
            Self::Here(services) => {
                services.subscriptions.refresh().await.map_err(Failure::Store)?;
                services.topics.page(page).await.map_err(Failure::Store)
            }
            Self::There(api) => {
                let parameters = Parameters::default()
                    .flag("unwanted", page.unwanted)
                    .with("after", page.after.as_ref())
                    .with("limit", Some(page.limit));
                api.get(&["v1", "topics"], parameters).await
            }
        }
    }

    /// Figures by the hour.
    pub(in crate::cli) async fn hours(
        self,
        series: &Series,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<HoursView, Failure> {
        match self {
            Self::Here(services) => {
                services.history.hours(series, since, until).await.map_err(Failure::Store)
            }
            Self::There(api) => {
                let (url, topic) = match series {
                    Series::All => (None, None),
                    Series::Url(url) => (Some(url), None),
                    Series::Topic(topic) => (None, Some(topic)),
                };
                let parameters = Parameters::default()
                    .with("url", url)
                    .with("topic", topic)
                    .at("since", Some(since))
                    .at("until", Some(until));
                api.get(&["v1", "history"], parameters).await
            }
        }
    }

    /// Changes and who made them.
    pub(in crate::cli) async fn audit(self, page: &AuditPage) -> Result<forms::AuditPage, Failure> {
        let AuditPage { filter, after, limit } = page;
        match self {
            Self::Here(services) => {
                services.store.audit(page).await.map(Into::into).map_err(Failure::Store)
            }
            Self::There(api) => {
                let parameters = Parameters::default()
                    .with("kind", filter.kind)
                    .with("object", filter.object.as_ref())
                    .with("actor", filter.actor.as_ref())
                    .with("action", filter.action)
                    .at("since", filter.since)
                    .at("until", filter.until)
                    .with("after", *after)
                    .with("limit", Some(limit));
                api.get(&["v1", "audit"], parameters).await
            }
        }
    }

    /// The number and a checksum of what was delivered, by the hour.
    pub(in crate::cli) async fn ledger(
        self,
        subscription: SubscriptionId,
        since: UnixMillis,
        until: UnixMillis,
    ) -> Result<forms::Ledger, Failure> {
        match self {
            Self::Here(services) => {
                let now = clock::now();
                let listing = services.store.ledger(subscription, since, until, now).await;
                let listing = listing.map_err(Failure::Store)?;
                Ok(forms::Ledger::new(subscription, listing))
            }
            Self::There(api) => {
                let parameters =
                    Parameters::default().at("since", Some(since)).at("until", Some(until));
                api.get(&["v1", "ledger", &subscription.to_string()], parameters).await
            }
        }
    }
}

/// The parameters that choose deliveries, or events by these.
fn of_deliveries(page: &DeliveryPage) -> Parameters {
    let DeliveryPage { filter, after, limit } = page;
    Parameters::default()
        .with("event", filter.event.as_ref())
        .with("delivery", filter.delivery)
        .with("subscription", filter.subscription)
        .with("url", filter.url.as_ref())
        .with("topic", filter.topic.as_ref())
        .with("state", filter.states.map(|states| states.name()))
        .at("since", filter.since)
        .at("until", filter.until)
        .with("after", *after)
        .with("limit", Some(limit))
}

async fn attempt(api: &Remote, id: RecordId) -> Result<Option<RecordView>, Failure> {
    let read = api.get(&["v1", "attempts", &id.to_string()], Parameters::default()).await;
    match read {
        Err(Failure::Remote(error)) if error.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}
