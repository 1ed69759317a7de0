//! A circuit as a row, and a row as a circuit.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{
    circuits::{CircuitListing, CircuitOrder, CircuitPage},
    error::{CorruptCircuit, Readable},
    flaw::{Flaw, json, parsed, undecodable},
};
use homing_domain::{
    circuit::{Circuit, CircuitState, LastOutcome, Reason, StateName, Window},
    time::UnixMillis,
    url::EndpointUrl,
};

/// The columns of one circuit but its URL and when it was last written.
#[derive(sqlx_macros::FromRow)]
pub(super) struct CircuitRow {
    pub(super) state: String,
    pub(super) probe_at_ms: Option<i64>,
    pub(super) since_ms: i64,
    /// An object in JSON.
    pub(super) reason: Option<String>,
    pub(super) window_attempts: i64,
    pub(super) window_failures: i64,
    #[sqlx(rename = "failures_in_a_row")]
    pub(super) consecutive_failures: i64,
    pub(super) successes: i64,
    pub(super) failures: i64,
    pub(super) first_attempt_ms: Option<i64>,
    pub(super) last_success_ms: Option<i64>,
    pub(super) last_outcome: Option<String>,
    pub(super) last_outcome_ms: Option<i64>,
    pub(super) created_ms: i64,
}

impl From<&Circuit> for CircuitRow {
    fn from(circuit: &Circuit) -> Self {
        let Circuit { state, window, last_outcome, .. } = circuit;
        let probe_at = match state {
            CircuitState::Open { probe_at } => Some(probe_at.get()),
            CircuitState::Closed | CircuitState::Frozen => None,
        };
        Self {
            state: state.name().to_string(),
            probe_at_ms: probe_at,
            since_ms: circuit.since.get(),
            // Plain data; a failure here would be one of serde.
            reason: circuit.reason.and_then(|reason| serde_json::to_string(&reason).ok()),
            window_attempts: stored(window.attempts),
            window_failures: stored(window.failures),
            consecutive_failures: stored(circuit.consecutive_failures),
            successes: stored(circuit.successes),
            failures: stored(circuit.failures),
            first_attempt_ms: circuit.first_attempt.map(UnixMillis::get),
            last_success_ms: circuit.last_success.map(UnixMillis::get),
            last_outcome: last_outcome.as_ref().map(|last| last.outcome.clone()),
            last_outcome_ms: last_outcome.as_ref().map(|last| last.ended.get()),
            created_ms: circuit.created.get(),
        }
    }
}

/// A row of `circuits` as it was found: a circuit, or the name of one that is corrupt.
pub(super) struct FoundCircuit(pub(super) Readable<(EndpointUrl, Circuit)>);

impl<'r, R> FromRow<'r, R> for FoundCircuit
where
    R: Row,
    CircuitRow: FromRow<'r, R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        // The schema accepts only ASCII, so that every row can be named.
        let url: String = row.try_get("url")?;
        let built = normalised(&url).and_then(|endpoint| {
            let columns = CircuitRow::from_row(row).map_err(undecodable)?;
            Ok((endpoint, columns.build()?))
        });
        Ok(Self(built.map_err(|Flaw { field, why }| CorruptCircuit { url, field, why })))
    }
}

/// A row of a list, with the number by which it is ordered.
pub(super) struct ListedCircuit {
    found: FoundCircuit,
    key: i64,
}

impl<'r, R> FromRow<'r, R> for ListedCircuit
where
    R: Row,
    FoundCircuit: FromRow<'r, R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self { found: FoundCircuit::from_row(row)?, key: row.try_get("sort_key")? })
    }
}

/// The number and the URL behind which a page begins. In the order of URLs, there is no number; in
/// others it is before the URL.
pub(super) fn behind(page: &CircuitPage) -> (i64, String) {
    let Some(after) = page.after.as_deref() else { return (i64::MAX, String::new()) };
    let parts = after.split_once(' ').and_then(|(key, url)| Some((key.parse().ok()?, url)));
    let (key, url) = parts.unwrap_or((i64::MAX, after));
    (key, url.to_owned())
}

/// A page of `limit` from its rows. One row more was asked for: it shows that there is a next page.
pub(super) fn page(rows: Vec<ListedCircuit>, order: CircuitOrder, limit: u32) -> CircuitListing {
    let on_page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > on_page;
    let mut listing = CircuitListing::default();
    let mut last = None;
    for ListedCircuit { found: FoundCircuit(row), key } in rows.into_iter().take(on_page) {
        let url = row.as_ref().map_or_else(|bad| bad.url.as_str(), |(url, _)| url.as_str());
        last =
            Some(if order == CircuitOrder::Url { url.to_owned() } else { format!("{key} {url}") });
        match row {
            Ok(circuit) => listing.circuits.push(circuit),
            Err(corrupt) => listing.corrupt.push(corrupt),
        }
    }
    listing.next = last.filter(|_| more);
    listing
}

/// Refuses any other form of the URL: no look-up would find it.
fn normalised(text: &str) -> Result<EndpointUrl, Flaw> {
    let url: EndpointUrl = parsed("url", text)?;
    if url.as_str() == text { Ok(url) } else { Err(Flaw::new("url", "is not normalised")) }
}

impl CircuitRow {
    fn build(self) -> Result<Circuit, Flaw> {
        let window = Window {
            attempts: counter("window_attempts", self.window_attempts)?,
            failures: counter("window_failures", self.window_failures)?,
        };
        let last_outcome = self.last_outcome.zip(self.last_outcome_ms);
        Ok(Circuit {
            state: read_state(&self.state, self.probe_at_ms)?,
            since: UnixMillis::new(self.since_ms),
            reason: self.reason.map(|text| read_reason(&text)).transpose()?,
            window,
            consecutive_failures: counter("failures_in_a_row", self.consecutive_failures)?,
            successes: counter("successes", self.successes)?,
            failures: counter("failures", self.failures)?,
            first_attempt: self.first_attempt_ms.map(UnixMillis::new),
            last_success: self.last_success_ms.map(UnixMillis::new),
            last_outcome: last_outcome
                .map(|(outcome, ended)| LastOutcome { ended: UnixMillis::new(ended), outcome }),
            created: UnixMillis::new(self.created_ms),
        })
    }
}

fn read_state(name: &str, probe_at: Option<i64>) -> Result<CircuitState, Flaw> {
    match (parsed("state", name)?, probe_at) {
        (StateName::Closed, None) => Ok(CircuitState::Closed),
        (StateName::Open, Some(at)) => Ok(CircuitState::Open { probe_at: UnixMillis::new(at) }),
        (StateName::Frozen, None) => Ok(CircuitState::Frozen),
        (StateName::Open, None) => Err(Flaw::new("probe_at_ms", "is missing")),
        (StateName::Closed | StateName::Frozen, Some(_)) => {
            Err(Flaw::new("probe_at_ms", "is there although no probe is due"))
        }
    }
}

fn read_reason(text: &str) -> Result<Reason, Flaw> {
    json("reason", text, "a reason")
}

/// A counter as a column, which counts half as far.
fn stored(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

fn counter(field: &str, number: i64) -> Result<u64, Flaw> {
    u64::try_from(number).map_err(|_| Flaw::new(field, "is negative"))
}
