//! Suggestions for mistyped URLs: only circuits of URLs with a subscription are set.

use std::collections::BTreeSet;

use super::CircuitBreakers;
use homing_domain::{
    circuit::{Circuit, StateName},
    url::EndpointUrl,
};
use homing_store::{Intervention, Page, StoreError};

/// Subscriptions whose URLs are compared.
const MAX_COMPARED: usize = 5_000;
/// Characters of a URL that are compared.
const MAX_CHARS: usize = 256;
/// URLs that are suggested.
const MAX_NAMED: usize = 3;
/// From 0, nothing in common, to 1, the same.
const LIKENESS_MIN: f64 = 0.7;

/// Errors of setting a circuit.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// No subscription sends there, so setting it would have no effect.
    #[error("no subscription sends to {url}{}", meant(near))]
    Unknown {
        /// The normalised URL.
        url: String,
        /// Similar URLs with a subscription, the most similar first.
        near: Vec<String>,
    },
    /// The circuit is unknown, or it may or may not have been set.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn meant(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

impl CircuitBreakers {
    /// As [`set`](Self::set), but only for a URL with a subscription, or to enable a circuit that
    /// is not closed.
    ///
    /// # Errors
    ///
    /// [`SetError`]: nothing is changed.
    pub async fn set_known(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
    ) -> Result<Circuit, SetError> {
        let at = self.store.subscriptions_at(url, Page { after: None, limit: 1 }).await?;
        let is_known = !at.subscriptions.is_empty()
            || intervention == Intervention::Enable
                && self.get(url).await?.state.name() != StateName::Closed;
        if is_known {
            return Ok(self.set(url, intervention).await?);
        }
        let near = self.suggestions(url).await?;
        Err(SetError::Unknown { url: url.as_str().to_owned(), near })
    }

    async fn suggestions(&self, url: &EndpointUrl) -> Result<Vec<String>, StoreError> {
        let mut found = BTreeSet::new();
        let (mut after, mut compared) = (None, 0_usize);
        while compared < MAX_COMPARED {
            let listing = self.store.subscriptions(Page { after, limit: 1_000 }).await?;
            compared = compared.saturating_add(listing.subscriptions.len());
            let urls = listing.subscriptions.iter().map(|one| one.spec.url.as_str().to_owned());
            found.extend(urls);
            after = listing.next;
            if after.is_none() {
                break;
            }
        }
        Ok(likest(url.as_str(), found))
    }
}

fn likest(url: &str, others: impl IntoIterator<Item = String>) -> Vec<String> {
    let compared = |url: &str| url.chars().take(MAX_CHARS).collect::<String>();
    let meant = compared(url);
    let mut like: Vec<_> = others
        .into_iter()
        .map(|other| (strsim::normalized_damerau_levenshtein(&meant, &compared(&other)), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    like.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    like.into_iter().take(MAX_NAMED).map(|(_, url)| url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_urls_are_named_first() {
        let others = [
            "https://example.com/hooks/other",
            "https://example.com/hook",
            "https://example.org/hook",
            "https://shop.example.net/events/of/every/kind",
        ];
        let likest = likest("https://example.com/hok", others.map(str::to_owned));
        assert_eq!(likest, ["https://example.com/hook", "https://example.org/hook", others[0]]);
        let error = SetError::Unknown { url: "https://a/".to_owned(), near: Vec::new() };
        assert_eq!(error.to_string(), "no subscription sends to https://a/");
        let error = SetError::Unknown { url: "https://a/".to_owned(), near: likest };
        insta::assert_snapshot!(error, @"no subscription sends to https://a/; did you mean https://example.com/hook or https://example.org/hook or https://example.com/hooks/other?");
    }
}
