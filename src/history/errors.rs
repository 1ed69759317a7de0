//! Failed attempts by what failed, as they are shown.

use serde::{Deserialize, Serialize};

use super::{History, words};
use homing_domain::{
    error_group::{ErrorGroup, ErrorId},
    record::{Class, RecordId},
};
use homing_store::{ErrorFilter, StoreError};

/// Failed attempts of one kind. Instants are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ErrorGroup)]
pub struct ErrorView {
    /// Its id, by which what was parked for it is selected; `null`: errors of this URL that are too
    /// many to be counted apart, for which what was parked is selected by `url`.
    #[schema(value_type = Option<String>)]
    pub id: Option<ErrorId>,
    /// The URL of the attempts.
    pub url: String,
    /// The class of their outcome.
    pub class: Class,
    /// Their outcome, e.g. `refused 503`.
    pub outcome: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The first line of the answer, or the cause; numbers, ids and addresses are replaced by `#`.
    pub text: String,
    /// The number of attempts.
    pub count: u64,
    /// The start of the first.
    pub first: String,
    /// The start of the last.
    pub last: String,
    /// The last of them.
    pub example: RecordId,
}

/// The errors with the latest attempts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Errors)]
pub struct ErrorsView {
    /// That with the latest attempt first.
    pub errors: Vec<ErrorView>,
    /// True if there are more.
    pub more: bool,
}

impl From<&(ErrorId, ErrorGroup)> for ErrorView {
    fn from((id, group): &(ErrorId, ErrorGroup)) -> Self {
        let ErrorGroup { kind, count, first, last, example } = group;
        Self {
            id: (!kind.is_other()).then_some(*id),
            url: kind.url.clone(),
            class: kind.class,
            outcome: kind.outcome.clone(),
            status: kind.status,
            text: kind.text.clone(),
            count: *count,
            first: first.to_string(),
            last: last.to_string(),
            example: *example,
        }
    }
}

impl ErrorView {
    /// The outcome in words: `503 from the endpoint`.
    #[must_use]
    pub fn report(&self) -> String {
        words::outcome(&self.outcome, None)
    }
}

impl History {
    /// Failed attempts by what failed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn errors(&self, filter: &ErrorFilter) -> Result<ErrorsView, StoreError> {
        let found = self.store.error_groups(filter).await?;
        let errors = found.groups.iter().map(ErrorView::from).collect();
        Ok(ErrorsView { errors, more: found.more })
    }
}
