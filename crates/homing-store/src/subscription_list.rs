//! The list of subscriptions as operators read it: those at a URL or with a text, in an order.

use std::str::FromStr;

use super::{
    Corrupt, MAX_PAGE_LIMIT,
    backend::Dialect,
    order_words,
    row::FoundRow,
    statement::{SqlDatabase, Statement, containing, sql},
    statements::SUBSCRIPTIONS,
};
use homing_domain::{subscription::Subscription, url::EndpointUrl};

/// Sorts behind every id, which has hexadecimal digits only.
const BEHIND_ALL: &str = "g";
/// The columns that are searched.
const TEXTS: &str = "url, topics, description, owner, labels";

/// The order of a list of subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionOrder {
    /// The one that was created first comes first.
    #[default]
    Created,
    /// The one that was created last comes first.
    Newest,
    /// By URL, as the database compares texts; those with the same URL by their creation.
    Url,
}

impl SubscriptionOrder {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Created, "created"), (Self::Newest, "newest"), (Self::Url, "url")];

    /// Its word in queries.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        order_words::word_of(&Self::WORDS, &self)
    }
}

impl FromStr for SubscriptionOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        order_words::read(&Self::WORDS, text)
    }
}

/// A part of the list to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionPage {
    /// Only those that send there.
    pub at: Option<EndpointUrl>,
    /// Only those whose id begins with this, or that have it in their URL, a topic, their
    /// description, their owner or their labels, in whatever case.
    pub contains: Option<String>,
    /// The order of the list.
    pub order: SubscriptionOrder,
    /// Begin behind the subscription that [`SubscriptionListing::next`] names, which need not exist
    /// any more; `None`: at the beginning.
    pub after: Option<String>,
    /// Subscriptions at most; taken as 1 to [`MAX_PAGE_LIMIT`].
    pub limit: u32,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscriptionListing {
    /// In the order of the page.
    pub subscriptions: Vec<Subscription>,
    /// Subscriptions on this page that cannot be read.
    pub corrupt: Vec<Corrupt>,
    /// Goes into [`SubscriptionPage::after`] for the next page; `None`: this is the last one.
    pub next: Option<String>,
}

pub(super) fn limit(page: &SubscriptionPage) -> u32 {
    page.limit.clamp(1, MAX_PAGE_LIMIT)
}

/// The subscriptions of a page and one more.
pub(super) fn listing<DB: SqlDatabase>(
    page: &SubscriptionPage,
    dialect: &Dialect,
) -> Statement<DB> {
    let (id, url) = behind(page);
    let mut select = sql(SUBSCRIPTIONS);
    select = match page.order {
        SubscriptionOrder::Created => select.push("id > ").push_bind(id),
        SubscriptionOrder::Newest => {
            let id = if id.is_empty() { BEHIND_ALL } else { id };
            select.push("id < ").push_bind(id)
        }
        SubscriptionOrder::Url => {
            select = select.push("url >= ").push_bind(url);
            select = select.push(" AND (url > ").push_bind(url);
            select.push(" OR id > ").push_bind(id).push(")")
        }
    };
    if let Some(at) = &page.at {
        select = select.push(" AND url = ").push_bind(at.as_str());
    }
    if let Some(text) = &page.contains {
        let part = containing(text);
        let prefix = part.trim_start_matches('%').to_owned();
        select = select.push(" AND (id LIKE ").push_bind(prefix).push(" ESCAPE '\\'");
        // One comparison of all takes half the time of one of each.
        select = select.push(" OR concat_ws('\n', ").push(TEXTS).push(")").push(dialect.like);
        select = select.push_bind(part.as_str()).push(" ESCAPE '\\')");
    }
    let order = match page.order {
        SubscriptionOrder::Created => " ORDER BY id",
        SubscriptionOrder::Newest => " ORDER BY id DESC",
        SubscriptionOrder::Url => " ORDER BY url, id",
    };
    select.push(order).push(" LIMIT ").push_bind(i64::from(limit(page)).saturating_add(1))
}

/// The id and the URL behind which a page begins; the empty texts sort before all.
fn behind(page: &SubscriptionPage) -> (&str, &str) {
    let after = page.after.as_deref().unwrap_or_default();
    after.split_once(' ').unwrap_or((after, ""))
}

/// The place behind the last row of a page, for the next one. A row that cannot be decoded has no
/// URL: in the order of URLs, it is that of the last row that has one.
pub(super) fn last(page: &SubscriptionPage, rows: &[FoundRow]) -> Option<String> {
    let on_page = usize::try_from(limit(page)).unwrap_or(usize::MAX);
    let mut rows = rows.iter().take(on_page).rev();
    match page.order {
        SubscriptionOrder::Created | SubscriptionOrder::Newest => {
            Some(rows.next()?.id().to_string())
        }
        SubscriptionOrder::Url => rows.find_map(|row| Some(format!("{} {}", row.id(), row.url()?))),
    }
}
