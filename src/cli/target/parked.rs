//! Parked deliveries.

use reqwest::Method;
use serde_json::{Value, json};

use super::Target;
use crate::{
    api::forms,
    cli::{
        failure::Failure,
        remote::{Parameters, Remote},
    },
};
use homing_delivery::parking::{Action, Bodies, Entry, Listing, SearchText, Selection, Tally};

/// The counts of parked deliveries on which a running homing acted, and the endpoints to which
/// nothing of that is sent now.
pub(in crate::cli) type Acted = forms::ParkedReplayed;

impl Target<'_> {
    /// Up to `limit` parked deliveries that match, what was parked last first.
    pub(in crate::cli) async fn parked(
        self,
        selection: &Selection,
        limit: u32,
        bodies: Bodies,
    ) -> Result<Listing, Failure> {
        match self {
            Self::Here(services) => {
                services.parking.list(selection, limit, bodies).await.map_err(Failure::Parking)
            }
            Self::There(api) => listed(api, selection, limit, bodies).await,
        }
    }
}

/// Page after page.
async fn listed(
    api: &Remote,
    selection: &Selection,
    limit: u32,
    bodies: Bodies,
) -> Result<Listing, Failure> {
    let with_bodies = bodies == Bodies::Included;
    let most = if with_bodies { forms::MAX_PARKED_WITH_BODIES } else { forms::MAX_PARKED };
    let mut listing = page(api, selection, None, (limit.clamp(1, most), with_bodies)).await?;
    loop {
        let read = u32::try_from(listing.entries.len()).unwrap_or(u32::MAX);
        let left = limit.saturating_sub(read);
        let Some(after) = listing.next.filter(|_| left > 0) else { return Ok(listing) };
        let further =
            page(api, selection, Some(after.to_string()), (left.min(most), with_bodies)).await?;
        listing.entries.extend(further.entries);
        listing.next = further.next;
    }
}

async fn page(
    api: &Remote,
    selection: &Selection,
    after: Option<String>,
    (limit, with_bodies): (u32, bool),
) -> Result<Listing, Failure> {
    let parameters = Parameters::default()
        .with("id", selection.id)
        .with("reason", selection.reason)
        .with("subscription", selection.subscription)
        .with("topic", selection.topic.as_ref())
        .with("event", selection.event.as_ref())
        .with("delivery", selection.delivery)
        .with("url", selection.url.as_ref())
        .with("status", selection.status)
        .with("error", selection.error)
        .with("text", selection.text.as_ref().map(SearchText::as_str))
        .at("parked_after", selection.parked_after_ms)
        .at("parked_before", selection.parked_before_ms)
        .with("after", after)
        .with("limit", Some(limit))
        .flag("body", with_bodies);
    let shown: forms::ParkedPage = api.get(&["v1", "parked"], parameters).await?;
    let next = shown.next.map(|next| next.parse()).transpose();
    let next = next.map_err(|error| Failure::NotFound(format!("the API's next page: {error}")))?;
    let entries: Vec<Entry> =
        shown.entries.into_iter().map(forms::ParkedEntry::into_entry).collect();
    let (total, arriving, matched) = (shown.total, shown.arriving, shown.matched);
    Ok(Listing { entries, next, total, arriving, matched })
}

/// The selection as the API takes it.
pub(in crate::cli) fn selection_of(selection: &Selection, limit: Option<u32>) -> Value {
    json!({
        "id": selection.id,
        "reason": selection.reason,
        "subscription": selection.subscription,
        "topic": selection.topic.as_ref().map(ToString::to_string),
        "event": selection.event,
        "delivery": selection.delivery,
        "url": selection.url,
        "status": selection.status,
        "error": selection.error,
        "text": selection.text.as_ref().map(SearchText::as_str),
        "parked_after": selection.parked_after_ms.map(|at| at.to_string()),
        "parked_before": selection.parked_before_ms.map(|at| at.to_string()),
        "limit": limit,
        "all": selection.is_everything(),
    })
}

impl Remote {
    /// Has parked deliveries replayed or dropped, or only counts what would be. Dropped, it ends
    /// there between two deliveries.
    pub(in crate::cli) async fn act_on_parked(
        &self,
        action: Action,
        mut document: Value,
        is_dry: bool,
    ) -> Result<Acted, Failure> {
        if let Some(fields) = document.as_object_mut() {
            fields.insert("dry_run".to_owned(), is_dry.into());
        }
        let none = Parameters::default();
        if action == Action::Drop {
            let request = (Method::POST, &["v1", "parked", "drop"][..]);
            let tally: Tally = self.submit(request, none, &document).await?;
            return Ok(Acted { tally, stopped: Vec::new() });
        }
        self.submit((Method::POST, &["v1", "parked", "replay"][..]), none, &document).await
    }
}
