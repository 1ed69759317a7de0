//! Everything that homing keeps besides messages: subscriptions and their tokens, circuits, owners of
//! held queues, sources, names of declared queues, figures, what is parked, the log of attempts with
//! payloads, the history, the audit, the ledger, and replays.
//!
//! Promises to the layers above: a confirmed write survives the loss of power; two subscriptions to
//! the same events at the same URL never exist together, whichever processes write; counts of several
//! workers add up, and one worker at a time wins a probe or asks for a token; several processes may
//! use one store at a time; what someone changes is on record with its author (`audit/`); every step
//! ends within [`DEADLINE`], except a change of the schema; a row that cannot be read affects no other
//! row. Not promised: an order of writes.
//!
//! [`open`] chooses the backend by `store.url`. Workers and the CLI hold an `Arc<dyn Store>`; only this
//! crate contains SQL. [`backend::SqlStore`] implements every operation once; [`backend::Backend`] is
//! the part in which SQLite and PostgreSQL differ.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use homing_domain::{
    api_token::ApiToken,
    audit::Actor,
    circuit::{Circuit, CircuitRules, EndedProbe, Turn},
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

mod activity;
mod attempt_marks;
mod attempt_row;
mod attempt_statements;
mod attempts;
mod audit;
mod backend;
mod circuit_row;
mod circuit_store;
mod circuits;
mod confidential;
mod deliveries;
mod error;
mod error_groups;
mod flaw;
mod encryption;
mod held;
mod history;
mod key_source;
mod keyring;
mod ledger;
mod oauth2_tokens;
mod opening;
mod order_words;
mod parked;
mod payloads;
#[cfg(feature = "postgres")]
mod postgres;
mod publications;
mod replay_row;
mod replays;
mod row;
mod row_values;
mod schema;
mod sealed;
mod search;
pub mod settings;
mod sources;
mod sqlite;
mod statement;
mod statements;
mod store;
mod subscription_list;
mod subscription_store;
mod subscriptions;
mod token_row;
mod workfront;

pub use activity::{ActivityStore, UnsettledCounts};
pub use attempts::{
    AttemptLog, LogExtent, MAX_GAPS, Pruned, RECORDS_AT_ONCE, RecordFilter, RecordListing,
    RecordPage,
};
pub use audit::{
    AuditFilter, AuditListing, AuditPage, AuditStore, MAX_ANNOUNCEMENTS, MAX_AUDIT_PRUNED,
    normalised,
};
pub use circuits::{
    CircuitChange, CircuitListing, CircuitOrder, CircuitPage, FAILING, Intervention, MAX_PRUNED,
    MergedTallies, ProbeClaim, UnsettledCircuits,
};
pub use deliveries::{DeliveryFilter, DeliveryListing, DeliveryPage, DeliveryStore};
pub use encryption::{Keys, Reencrypted};
pub use error::{Corrupt, CorruptCircuit, StoreError};
pub use error_groups::{
    ErrorFilter, ErrorGroups, ErrorStore, MAX_ERROR_GROUPS, MAX_ERROR_GROUPS_PER_URL,
};
pub use held::{HeldSlot, HeldStore, SLOT_REST};
pub use history::{
    HISTORY_AT_ONCE, HistoryBatch, HistoryGaps, HistoryStore, Hours, TopicListing, TopicOrder,
    TopicPage,
};
pub use ledger::{
    DueHour, LEDGER_SILENT_AFTER, LEDGER_SILENT_FOR, LedgerListing, LedgerReport, LedgerStore,
    MAX_LEDGER_HOURS, MAX_LEDGER_PAGE, MAX_LEDGER_PRUNED,
};
pub use oauth2_tokens::{OAuth2Claim, OAuth2Store, OAuth2Token, OAuth2TokenId, OAuth2TokenState};
pub use opening::{is_current, location, open, open_existing};
pub use parked::{
    Added, Claim, ClaimedByOthers, HeldFor, Intake, MAX_PARKED_AT_ONCE, ParkedBounds,
    ParkedDelivery, ParkedId, ParkedLimit, ParkedMessage, ParkedOrder, ParkedPage, ParkedStore,
    ParkedTotals, SearchText, SearchTextError, Selection,
};
pub use payloads::{
    AttemptPayload, PayloadBounds, PayloadStore, PayloadTotals, PrunedPayloads, ReadPayload,
    UnreadablePayload,
};
pub use publications::{MAX_PUBLICATIONS, PUBLICATIONS_KEPT, PublicationStore};
pub use replays::{MAX_REPLAYS, MAX_UNENDED_REPLAYS, ReplayClaim, ReplayStore};
pub use search::SearchStore;
pub use sources::SourceStore;
pub use subscription_list::{SubscriptionListing, SubscriptionOrder, SubscriptionPage};
pub use subscriptions::{
    Census, Changes, Damaged, ExpiringCertificate, Listing, MAX_CHANGES, MAX_PAGE_LIMIT, Page,
    QuotaError, Snapshot, SubscriptionStore,
};
pub use workfront::WorkfrontStore;

/// The time limit of a step, including the wait for a connection. Every call except
/// [`SubscriptionStore::all_subscriptions`] and [`Store::unsettled_circuits`] is one step.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps subscriptions, circuits, sources, tokens, queue names, figures, the attempt log and the
/// history.
///
/// # Cancel safety
///
/// Reads are cancel safe. A write that is dropped, or that ends as [`StoreError::TimedOut`], is
/// done completely or not at all; which of the two is unknown. All writes can be repeated; each
/// method says where a repetition has a cost.
#[async_trait]
pub trait Store:
    ActivityStore
    + AttemptLog
    + AuditStore
    + DeliveryStore
    + ErrorStore
    + HeldStore
    + LedgerStore
    + HistoryStore
    + OAuth2Store
    + PayloadStore
    + ParkedStore
    + PublicationStore
    + ReplayStore
    + SearchStore
    + SourceStore
    + SubscriptionStore
    + WorkfrontStore
    + Send
    + Sync
{
    /// A handle to the same store, whose changes are recorded as those of `actor`. Those of the
    /// handle that [`open`] returns are homing's own.
    fn by(&self, actor: &Actor) -> Arc<dyn Store>;

    /// The keys that encrypt secrets here.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn keys(&self) -> Result<Keys, StoreError>;

    /// Encrypts all secrets and payloads with the primary key, in batches, each with a deadline of its own.
    /// Forgets the other keys if no secret needs them any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; secrets that were encrypted anew before it stay so.
    async fn reencrypt(&self) -> Result<Reencrypted, StoreError>;

    /// Adds an API token; returns `false` if its name is taken.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn insert_token(&self, token: &ApiToken) -> Result<bool, StoreError>;

    /// Removes the API token with this name; returns `false` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn remove_token(&self, name: &str) -> Result<bool, StoreError>;

    /// All API tokens, ordered by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError>;

    /// Adds each tally to the circuit of its URL, creating missing circuits, and applies the rule:
    /// all in one transaction. The caller divides batches of more than some thousands.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then nothing is counted, but after
    /// [`StoreError::TimedOut`] everything may be. A circuit that cannot be read is no error.
    ///
    /// # Cancel safety
    ///
    /// A repeated call may count twice, a dropped one not at all: keep the tallies until this
    /// returns. A change of state that was not returned shows in
    /// [`circuits_version`](Self::circuits_version).
    async fn merge_tallies(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<MergedTallies, StoreError>;

    /// Claims the probe of `url` if one is due. Of all callers, in whatever process, one wins; the
    /// next probe is due an interval later, even if the winner never reports its result.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptCircuit`]; [`StoreError`]: a step that failed. Then the caller must
    /// not send.
    ///
    /// # Cancel safety
    ///
    /// A claim that was not returned may be won and unused: then no probe is sent for an interval.
    async fn claim_probe(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<ProbeClaim, StoreError>;

    /// Saves the outcome of a claimed probe. A probe is in no tally.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptCircuit`]; [`StoreError`]: a step that failed.
    ///
    /// # Cancel safety
    ///
    /// A repeated call may count twice; the state is the same.
    async fn probe_ended(
        &self,
        url: &EndpointUrl,
        probe: &EndedProbe<'_>,
        rules: &CircuitRules,
    ) -> Result<Turn, StoreError>;

    /// Changes the circuit of `url`; creates it where it is missing and replaces it where it cannot
    /// be read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn set_circuit(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> Result<Turn, StoreError>;

    /// The circuit of `url`; `None`: no attempt was ever made there, or none for long.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptCircuit`]: it is there and cannot be read.
    async fn circuit(&self, url: &EndpointUrl) -> Result<Option<Circuit>, StoreError>;

    /// One page of circuits. A circuit that exists in the requested state while all pages are read
    /// comes exactly once.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn circuits(&self, page: &CircuitPage) -> Result<CircuitListing, StoreError>;

    /// The last hundred changes of the circuit of `url` and its last hundred probes, the oldest
    /// first. What cannot be read, such as a state of a later version, is left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn circuit_changes(&self, url: &EndpointUrl) -> Result<Vec<CircuitChange>, StoreError>;

    /// All circuits that are not closed at one instant; read in batches, each with a deadline of
    /// its own.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn unsettled_circuits(&self) -> Result<UnsettledCircuits, StoreError>;

    /// A number that rises with every change of state of a circuit by any process; not with counts,
    /// nor when a probe is claimed. Compare for inequality.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn circuits_version(&self) -> Result<i64, StoreError>;

    /// Deletes closed circuits that were last written before this instant, at most [`MAX_PRUNED`];
    /// returns how many. Open and frozen circuits stay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn prune_circuits(&self, before: UnixMillis) -> Result<u64, StoreError>;

    /// Remembers names of wait queues and held queues, so that they are found when the settings do
    /// not name them any more. To be called before they are declared.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; then none of them is remembered.
    async fn remember_queues(&self, names: &[String]) -> Result<(), StoreError>;

    /// All names remembered, ordered by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn known_queues(&self) -> Result<Vec<String>, StoreError>;

    /// Forgets a queue that was deleted at the broker; returns `false` if it was not known.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError>;

    /// Checks that the store answers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the reason why it does not.
    async fn check(&self) -> Result<(), StoreError>;

    /// Waits for current calls and closes; every later call is [`StoreError::Closed`].
    async fn close(&self);
}
