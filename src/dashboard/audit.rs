//! The audit: who changed what, with filters; and the last changes of one object.

use askama::Template;
use axum::{Extension, extract::State, response::Response};

use super::{
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::link,
    period::instant,
    words,
};
use crate::web::{App, AppState};
use homing_domain::audit::{Action, ObjectKind, View};
use homing_store::{AuditFilter, AuditListing, AuditPage, StoreError};

const PAGE: u32 = 50;
/// Changes on the page of an object.
const LAST: u32 = 10;
/// The filters of the list.
const FILTERS: [&str; 6] = ["kind", "object", "actor", "action", "since", "until"];

/// A change on a page.
pub(super) struct Change {
    pub(super) record: View,
    /// One for each field.
    pub(super) fields: Vec<String>,
    /// The page of the object, if it has one.
    pub(super) page: Option<String>,
}

impl From<View> for Change {
    fn from(record: View) -> Self {
        let fields = record.fields();
        let object = record.object.as_str();
        let page = match record.kind {
            ObjectKind::Subscription => Some(format!("/subscriptions/{object}")),
            ObjectKind::Endpoint => Some(link("/endpoint", [("url", object)])),
            ObjectKind::Source => Some("/sources".to_owned()),
            ObjectKind::Replay => Some("/replays".to_owned()),
            ObjectKind::Parked | ObjectKind::Token | ObjectKind::Keys | ObjectKind::Topology => {
                None
            }
        };
        Self { record, fields, page }
    }
}

/// The last changes of an object, the newest first, and the address of all of them.
pub(super) struct Changes {
    pub(super) changes: Vec<Change>,
    pub(super) all: String,
}

impl Changes {
    /// Reads those of `object`.
    pub(super) async fn of(app: &App, kind: ObjectKind, object: &str) -> Result<Self, StoreError> {
        let (kind_word, object_text) = (kind.as_str(), object.to_owned());
        let filter =
            AuditFilter { kind: Some(kind), object: Some(object_text), ..AuditFilter::default() };
        let wanted = AuditPage { filter, after: None, limit: LAST };
        let records = app.services.store.audit(&wanted).await?.records;
        let changes = records.into_iter().map(|record| Change::from(View::from(record))).collect();
        Ok(Self { changes, all: link("/audit", [("kind", kind_word), ("object", object)]) })
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
struct ListPage {
    layout: Layout,
    fields: Fields,
    wrong: Wrong,
    kinds: Vec<&'static str>,
    actions: Vec<&'static str>,
    changes: Vec<Change>,
    next: Option<String>,
    is_filtered: bool,
    is_first: bool,
}

/// Lists changes, newest first.
pub(super) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let mut wrong = Wrong::default();
    let filter = AuditFilter {
        since: instant(&fields, "since", &mut wrong),
        until: instant(&fields, "until", &mut wrong),
        ..fields.read(&mut wrong)
    };
    let after = fields.get("after", &mut wrong);
    let wanted = AuditPage { filter, after, limit: PAGE };
    // A wrong filter finds nothing, rather than something else.
    let found = if wrong.is_empty() {
        app.services.store.audit(&wanted).await?
    } else {
        AuditListing::default()
    };
    let query = fields.query(&FILTERS);
    Ok(page(&ListPage {
        layout: Layout::new("Audit", NavItem::Audit, visitor),
        is_filtered: !query.is_empty(),
        is_first: fields.given("after").is_none(),
        next: found.next.map(|next| format!("/audit?{query}&after={next}")),
        fields,
        wrong,
        kinds: ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect(),
        actions: Action::ALL.iter().map(|action| action.as_str()).collect(),
        changes: found.records.into_iter().map(|one| Change::from(View::from(one))).collect(),
    }))
}
