//! A search as its address has it.

use crate::dashboard::{
    fields::{Fields, Wrong},
    period,
};
use crate::history::ErrorView;
use homing_domain::{status_range::StatusRange, time::UnixMillis};
use homing_store::{SearchText, Selection};

/// Characters of a search.
const MAX_TEXT: usize = 2_048;

/// A search.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// The words without a meaning of their own.
    pub(super) text: String,
    pub(super) status: Option<StatusRange>,
    pub(super) since: Option<UnixMillis>,
    pub(super) until: Option<UnixMillis>,
}

impl Query {
    pub(super) fn of(fields: &Fields, wrong: &mut Wrong) -> Self {
        let mut query = Self {
            since: period::instant(fields, "since", wrong),
            until: period::instant(fields, "until", wrong),
            ..Self::default()
        };
        let sought: String = fields.text("q").chars().take(MAX_TEXT).collect();
        let words: Vec<_> = sought.split_whitespace().collect();
        let is_alone = words.len() == 1;
        let mut rest = Vec::new();
        for word in words {
            match word.parse::<StatusRange>() {
                Ok(status) => {
                    query.status = Some(status);
                    // An id may be a number, too.
                    if is_alone && !word.ends_with(['x', 'X']) {
                        rest.push(word);
                    }
                }
                Err(_) => rest.push(word),
            }
        }
        query.text = rest.join(" ");
        query
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.status.is_none()
    }

    /// True if the text alone is searched for.
    pub(super) fn is_text(&self) -> bool {
        self.status.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// The selection of what is parked; `None`: nothing would be sought for.
    pub(super) fn parked(&self) -> Option<Selection> {
        let text: Option<SearchText> = self.text.parse().ok();
        let selects = text.is_some() || (self.status.is_some() && self.text.is_empty());
        selects.then(|| Selection {
            text,
            status: self.status.filter(|_| self.text.parse::<StatusRange>().is_err()),
            parked_after_ms: self.since,
            parked_before_ms: self.until,
            ..Selection::default()
        })
    }

    pub(super) fn matches(&self, error: &ErrorView) -> bool {
        let sought = self.text.to_lowercase();
        let has_status =
            |range: StatusRange| error.status.is_some_and(|status| range.range().contains(&status));
        let is_status = self.text.parse::<StatusRange>().is_ok();
        let has_text = || {
            [&error.url, &error.text, &error.outcome, &error.report()]
                .iter()
                .any(|text| text.to_lowercase().contains(&sought))
        };
        self.status.is_none_or(has_status) && (is_status || sought.is_empty() || has_text())
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::FromRequest, http::Request};

    use super::*;
    use crate::dashboard::links::link;

    async fn query(text: &str) -> Query {
        let uri = link("/search", [("q", text)]);
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let fields = Fields::from_request(request, &()).await.unwrap();
        Query::of(&fields, &mut Wrong::default())
    }

    #[tokio::test]
    async fn statuses_are_words_of_a_search_and_the_rest_is_text() {
        let read = async |text: &str| {
            let query = query(text).await;
            (query.text.clone(), query.status.map(|status| status.to_string()))
        };
        let status = |text: &str| Some(text.to_owned());
        assert_eq!(read("5xx").await, (String::new(), status("5xx")));
        assert_eq!(
            read("connection reset 5xx").await,
            ("connection reset".to_owned(), status("5xx"))
        );
        assert_eq!(read("503").await, ("503".to_owned(), status("503")), "it may be an id");
        assert_eq!(read("  order-7 ").await, ("order-7".to_owned(), None));
        assert!(query("   ").await.is_empty());
        assert_eq!(query("503").await.parked().unwrap().status, None, "the text has it");
        assert!(query("5xx").await.parked().unwrap().status.is_some());
        assert!(query("ab").await.parked().is_none(), "too short");
    }
}
