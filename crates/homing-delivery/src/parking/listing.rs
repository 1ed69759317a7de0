//! A part of what is parked, as lists show it.

use serde::Serialize;

use super::{Arriving, Entry};
use homing_store::{ParkedId, ParkedOrder};

/// Deliveries that a list for people counts at most, as its [`Begin::count`].
pub const MAX_COUNTED: u32 = 10_000;

/// A part of what is parked.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Deliveries that match, in the order of the page.
    pub entries: Vec<Entry>,
    /// Goes into [`Parking::page`](super::Parking::page) for the next page; `None`: there are no more.
    pub next: Option<ParkedId>,
    /// Deliveries in the store, whether they match or not.
    pub total: u64,
    /// Those that are not in the store yet.
    pub arriving: Arriving,
    /// Deliveries that match, up to [`Begin::count`].
    #[serde(skip)]
    pub matched: u32,
}

/// The beginning of a page of a [`Listing`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Begin {
    /// The order of the list.
    pub order: ParkedOrder,
    /// Behind this one; `None`: with the first.
    pub after: Option<ParkedId>,
    /// All that match are counted, on whatever page, up to this number.
    pub count: u32,
}

/// In the order that lists have where none is chosen.
impl From<Option<ParkedId>> for Begin {
    fn from(after: Option<ParkedId>) -> Self {
        Self { after, ..Self::default() }
    }
}

/// Includes or omits the bodies of the entries of a [`Listing`], which are up to a megabyte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Include them.
    Included,
    /// Omit them.
    Omitted,
}
