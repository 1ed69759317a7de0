//! Actions on several endpoints at once: those whose boxes are ticked, or all that match the
//! filters of the list. A page shows first how many they are, and what that will do.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{StreamExt, stream};

use super::{
    cut,
    fields::{Fields, Wrong},
    layout::{ErrorPage, Layout, NavItem, Visitor, page},
    links::{self, link},
    pause::Pause,
    undo, words,
};
use crate::{
    services::Services,
    web::{AppState, acting::Acting},
};
use homing_domain::{circuit::StateName, clock, time::UnixMillis, url::EndpointUrl};
use homing_store::{CircuitPage, Intervention, StoreError};

/// Endpoints that are set at once at most.
const MAX_SET: usize = 1_000;
/// Boxes of one page.
const MAX_TICKED: usize = 50;
/// Endpoints that are set at the same time.
const AT_ONCE: usize = 16;
/// Endpoints that are named before they are set.
const NAMED: usize = 10;
/// Before the URL in the name of a box.
const TICKED: &str = "url:";

/// An action on endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Enable,
    Disable,
    Probe,
    Pause,
}

impl Act {
    fn of(fields: &Fields) -> Result<Self, ErrorPage> {
        match fields.text("action") {
            "enable" => Ok(Self::Enable),
            "disable" => Ok(Self::Disable),
            "probe" => Ok(Self::Probe),
            "pause" => Ok(Self::Pause),
            _ => Err(ErrorPage::bad_request(
                "Endpoints can be enabled, disabled, probed or paused, nothing else.",
            )),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Probe => "probe",
            Self::Pause => "pause",
        }
    }

    /// On buttons.
    fn name(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Probe => "Probe",
            Self::Pause => "Pause",
        }
    }

    /// Its effect on each.
    fn says(self) -> &'static str {
        match self {
            Self::Enable => "Each circuit is closed: what is held is sent, slowly at first.",
            Self::Disable => {
                "Each circuit is frozen: nothing is sent until someone enables the endpoint. \
                 Deliveries are held, and parked when their schedule ends."
            }
            Self::Probe => {
                "To each, the oldest delivery that is held is sent, or the next one that comes due. \
                 A success closes the circuit, a failure counts as an attempt; either ends a pause."
            }
            Self::Pause => {
                "Each circuit is open until then: nothing is sent. Deliveries are held, and parked \
                 when their schedule ends. At the end one is tried, and a success sends the others."
            }
        }
    }

    /// The states in which it changes something.
    fn states(self) -> &'static [StateName] {
        match self {
            Self::Enable => &[StateName::Frozen, StateName::Open],
            Self::Disable => &[StateName::Closed, StateName::Open],
            Self::Probe => &[StateName::Open],
            Self::Pause => &[StateName::Closed],
        }
    }

    fn intervention(self, fields: &Fields) -> Result<Intervention, ErrorPage> {
        Ok(match self {
            Self::Enable => Intervention::Enable,
            Self::Disable => Intervention::Disable,
            Self::Probe => Intervention::Probe,
            Self::Pause => Intervention::Pause(Pause::of(fields)?.end(clock::now())),
        })
    }
}

/// The endpoints of a form.
struct Chosen {
    urls: Vec<EndpointUrl>,
    /// More match.
    more: bool,
}

impl Chosen {
    /// Those that the act changes, and whose state has not changed since `shown`.
    async fn read(
        services: &Services,
        fields: &Fields,
        act: Act,
        shown: UnixMillis,
    ) -> Result<Self, ErrorPage> {
        if fields.is_set("chosen") {
            return Self::ticked(services, fields, act, shown).await;
        }
        let mut wrong = Wrong::default();
        let only: Option<StateName> = fields.get("state", &mut wrong);
        if !wrong.is_empty() {
            return Err(ErrorPage::bad_request("The filter is wrong; open the list to see why."));
        }
        let mut urls = Vec::new();
        let states = act.states().iter().filter(|state| only.is_none_or(|only| only == **state));
        for state in states {
            all(services, (*state, fields.given("q")), shown, &mut urls).await?;
        }
        let more = urls.len() > MAX_SET;
        urls.truncate(MAX_SET);
        Ok(Self { urls, more })
    }

    async fn ticked(
        services: &Services,
        fields: &Fields,
        act: Act,
        shown: UnixMillis,
    ) -> Result<Self, ErrorPage> {
        let ticked = fields.names().filter_map(|name| name.strip_prefix(TICKED)?.parse().ok());
        let ticked: Vec<EndpointUrl> = ticked.take(MAX_TICKED).collect();
        if ticked.is_empty() {
            return Err(ErrorPage::bad_request(
                "Select endpoints first: tick their boxes in the list.",
            ));
        }
        let mut urls = Vec::new();
        for url in ticked {
            let Some(circuit) = services.store.circuit(&url).await? else { continue };
            let is_meant = act.states().contains(&circuit.state.name()) && circuit.since <= shown;
            urls.extend(is_meant.then_some(url));
        }
        Ok(Self { urls, more: false })
    }
}

/// Adds the endpoints that were in `state` when they were shown, with this in their URLs, until
/// there are too many.
async fn all(
    services: &Services,
    (state, contains): (StateName, Option<&str>),
    shown: UnixMillis,
    urls: &mut Vec<EndpointUrl>,
) -> Result<(), StoreError> {
    let (state, contains) = (Some(state), contains.map(str::to_owned));
    let mut page = CircuitPage { state, contains, limit: 1_000, ..CircuitPage::default() };
    while urls.len() <= MAX_SET {
        let listing = services.store.circuits(&page).await?;
        let meant = listing.circuits.into_iter().filter(|(_, circuit)| circuit.since <= shown);
        urls.extend(meant.map(|(url, _)| url));
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(())
}

#[derive(Template)]
#[template(path = "endpoints_selected.html")]
struct PreviewPage {
    layout: Layout,
    act: Act,
    count: usize,
    more: bool,
    named: Vec<String>,
    /// The fields of the form, for the one that does it.
    given: Vec<(String, String)>,
    pauses: [(&'static str, &'static str); Pause::ALL.len()],
    back: String,
}

/// Shows how many endpoints an act would change, and how; changes nothing.
pub(super) async fn preview(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    fields: Fields,
) -> Result<Response, ErrorPage> {
    let (act, shown) = (Act::of(&fields)?, clock::now());
    let Chosen { urls, more } = Chosen::read(&app.services, &fields, act, shown).await?;
    let names = ["action", "state", "q", "chosen"].into_iter();
    let given = names.filter_map(|name| Some((name.to_owned(), fields.given(name)?.to_owned())));
    let mut given: Vec<_> = given.collect();
    if fields.is_set("chosen") {
        given.extend(urls.iter().map(|url| (format!("{TICKED}{}", url.as_str()), "1".to_owned())));
    }
    given.push(("count".to_owned(), urls.len().to_string()));
    given.push(("shown".to_owned(), shown.get().to_string()));
    Ok(page(&PreviewPage {
        layout: Layout::new("Endpoints", NavItem::Endpoints, visitor),
        act,
        count: urls.len(),
        more,
        named: urls.iter().take(NAMED).map(|url| url.as_str().to_owned()).collect(),
        given,
        pauses: Pause::ALL.map(|pause| (pause.as_str(), pause.name())),
        back: list(&fields, []),
    }))
}

/// Does what was shown before, to as many endpoints as were counted at most: one whose state has
/// changed since is not the one that was shown.
pub(super) async fn set(Acting(services): Acting, fields: Fields) -> Result<Response, ErrorPage> {
    let act = Act::of(&fields)?;
    let intervention = act.intervention(&fields)?;
    let mut wrong = Wrong::default();
    let counted: Option<usize> = fields.get("count", &mut wrong);
    let shown: Option<i64> = fields.get("shown", &mut wrong);
    let Some((counted, shown)) = counted.zip(shown.map(UnixMillis::new)) else {
        return Err(ErrorPage::bad_request("Open the list again: the number was not shown."));
    };
    let Chosen { urls, .. } = Chosen::read(&services, &fields, act, shown).await?;
    let services = &services;
    let setting = stream::iter(urls.into_iter().take(counted)).map(|url| async move {
        // The page that follows has the number of failures, the log each of them.
        let turned = services.circuits.turn(&url, intervention).await.map_err(ErrorPage::from).ok();
        turned.map(|turned| undo::has_effect(intervention, &turned))
    });
    let set: Vec<Option<bool>> = setting.buffer_unordered(AT_ONCE).collect().await;
    let number = |of| set.iter().filter(|one| **one == of).count();
    let (done, failed) = (number(Some(true)), number(None));
    let changed = counted.saturating_sub(done).saturating_sub(failed);
    let numbers = [("done", done), ("failed", failed), ("changed", changed)];
    let numbers = numbers.map(|(name, number)| (name, number.to_string()));
    let numbers = numbers.iter().map(|(name, number)| (*name, number.as_str()));
    let said = [("did", act.as_str())].into_iter().chain(numbers);
    Ok(Redirect::to(&list(&fields, said)).into_response())
}

/// The address of the list with the same filters.
fn list<'a>(fields: &'a Fields, said: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let filters = ["state", "q"].map(|name| (name, fields.text(name)));
    link("/endpoints", filters.into_iter().filter(|(_, text)| !text.is_empty()).chain(said))
}

/// The change of several endpoints that was just made, for the list that follows.
pub(super) fn said(fields: &Fields) -> Option<String> {
    let mut wrong = Wrong::default();
    let act = match fields.text("did") {
        "enable" => "enabled",
        "disable" => "disabled",
        "probe" => "to be probed now",
        "pause" => "paused",
        _ => return None,
    };
    let done: usize = fields.get("done", &mut wrong)?;
    let failed: usize = fields.get("failed", &mut wrong).unwrap_or(0);
    let changed: usize = fields.get("changed", &mut wrong).unwrap_or(0);
    let is = if done == 1 { "is" } else { "are" };
    let done = words::count(done, "endpoint", "endpoints");
    let left = match failed {
        0 => String::new(),
        number => format!(
            " {} left as before: the store did not answer; do it again.",
            words::count(number, "endpoint was", "endpoints were")
        ),
    };
    let others = match changed {
        0 => String::new(),
        number => format!(
            " {} changed in between, and left alone: look again.",
            words::count(number, "other was", "others were"),
        ),
    };
    Some(format!("{done} {is} {act}.{left}{others}"))
}
