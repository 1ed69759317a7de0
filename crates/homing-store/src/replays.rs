//! Replays of the archive: what is to be sent again, how far it is, and which worker has it.
//!
//! A worker claims a replay for a while, by the clock of the database, and renews that with every
//! step; a replay whose worker died is claimed by another one once that time is over, and goes on
//! behind the last position that was written.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    StoreError,
    attempt_row::bytes,
    backend::{Backend, SqlStore},
    replay_row::{ReplayRow, kept},
    statement::{Statement, Tx, sql},
};
use homing_domain::{
    audit::{Action, Change, ChangeResult, ObjectKind, from_to},
    clock,
    replay::{Replay, ReplayId, ReplayProgress, ReplaySelection, ReplayState},
    time::UnixMillis,
};

/// Replays that are kept of an installation; the oldest that are over are forgotten.
pub const MAX_REPLAYS: u32 = 1_000;
/// Replays that may be waiting or running in an installation.
pub const MAX_UNENDED_REPLAYS: u32 = 20;

const INSERT: &str = "\
    INSERT INTO replays (id, prefix, selection, state, actor, created_ms, updated_ms) \
    VALUES ($1, $2, $3, 'waiting', $4, $5, $5)";
const UNENDED: &str =
    "SELECT count(*) FROM replays WHERE prefix = $1 AND state IN ('waiting', 'running')";
const PRUNE: &str = "\
    DELETE FROM replays WHERE prefix = $1 AND state NOT IN ('waiting', 'running') AND id < \
    (SELECT id FROM replays WHERE prefix = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
/// The columns of a [`ReplayRow`], in a literal: the statements about it are constants.
macro_rules! columns {
    () => {
        "id, selection, state, actor, created_ms, updated_ms, first_offset, end_offset, next_offset, \
         events_read, sent, unreadable, gone, left_out, archive_begins_ms, note"
    };
}
const GET: &str = concat!("SELECT ", columns!(), " FROM replays WHERE prefix = $1 AND id = $2");
const LIST: &str =
    concat!("SELECT ", columns!(), " FROM replays WHERE prefix = $1 ORDER BY id DESC LIMIT $2");
const STOP: &str = "\
    UPDATE replays SET state = 'stopped', updated_ms = $3 \
    WHERE prefix = $1 AND id = $2 AND state IN ('waiting', 'running')";
const RESUME: &str = "\
    UPDATE replays SET state = 'waiting', updated_ms = $3, note = NULL \
    WHERE prefix = $1 AND id = $2 AND state IN ('stopped', 'failed')";

/// A worker that has a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayClaim {
    /// The worker.
    pub worker: Uuid,
    /// The replay is another's after this time, unless it is renewed.
    pub lasts: Duration,
}

/// Replays of the archive, by the prefix of the installation. Part of [`Store`](super::Store), with
/// its promises.
#[async_trait]
pub trait ReplayStore: Send + Sync {
    /// Adds a replay that waits for a worker; forgets the oldest beyond [`MAX_REPLAYS`]. `None`:
    /// [`MAX_UNENDED_REPLAYS`] are waiting or running.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn create_replay(
        &self,
        prefix: &str,
        selection: &ReplaySelection,
    ) -> Result<Option<Replay>, StoreError>;

    /// One replay.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn replay(&self, prefix: &str, id: ReplayId) -> Result<Option<Replay>, StoreError>;

    /// The newest replays, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn replays(&self, prefix: &str, limit: u32) -> Result<Vec<Replay>, StoreError>;

    /// Stops a replay that waits or runs; its worker ends within its present step. `false`: it does
    /// neither.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn stop_replay(&self, prefix: &str, id: ReplayId) -> Result<bool, StoreError>;

    /// Has a replay that was stopped or failed go on. `false`: it was neither.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn resume_replay(&self, prefix: &str, id: ReplayId) -> Result<bool, StoreError>;

    /// Claims a replay that waits or whose worker has let its claim run out, the one that was left
    /// alone for the longest time; none while another one has a worker. Of several callers, one gets
    /// it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; it may be claimed, and is free again after a while.
    async fn claim_replay(
        &self,
        prefix: &str,
        claim: ReplayClaim,
    ) -> Result<Option<Replay>, StoreError>;

    /// Writes how far a replay is and renews the claim. Returns its state, which another process may
    /// have changed; `None`: the claim is lost, and nothing is written.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed.
    async fn advance_replay(
        &self,
        id: ReplayId,
        progress: &ReplayProgress,
        claim: ReplayClaim,
    ) -> Result<Option<ReplayState>, StoreError>;

    /// Gives a claim up, with `state` where the replay still runs; as done or failed, it is on
    /// record. `false`: the claim is lost, and nothing is written.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a step that failed; the claim runs out.
    async fn leave_replay(
        &self,
        id: ReplayId,
        state: ReplayState,
        progress: &ReplayProgress,
        claim: ReplayClaim,
    ) -> Result<bool, StoreError>;
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn change(id: ReplayId, action: Action) -> Change {
    Change::new(ObjectKind::Replay, id.to_string(), action)
}

impl<B: Backend> SqlStore<B> {
    async fn add_replay(
        &self,
        prefix: &str,
        selection: &ReplaySelection,
    ) -> sqlx::Result<Option<Replay>> {
        let mut transaction = self.begin().await?;
        let (unended,): (i64,) = sql(UNENDED).bind(prefix).one(&mut transaction).await?;
        if unended >= i64::from(MAX_UNENDED_REPLAYS) {
            return Ok(None);
        }
        let (id, now) = (ReplayId::new(clock::new_id()), clock::now());
        let written =
            serde_json::to_value(selection).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let actor = self.actor.name.clone();
        let kept = kept(selection, written.clone()).to_string();
        let insert = sql(INSERT).bind(bytes(id.uuid())).bind(prefix).bind(kept);
        insert.bind(actor.as_str()).bind(now.get()).execute(&mut transaction).await?;
        let prune = sql(PRUNE).bind(prefix).bind(i64::from(MAX_REPLAYS));
        prune.execute(&mut transaction).await?;
        let mut created = change(id, Action::Created);
        if let serde_json::Value::Object(fields) = written {
            created.difference = fields;
        }
        self.note(&mut transaction, &created).await?;
        transaction.commit().await?;
        Ok(Some(Replay {
            id,
            selection: selection.clone(),
            state: ReplayState::Waiting,
            progress: ReplayProgress::default(),
            actor,
            created_ms: now,
            updated_ms: now,
        }))
    }

    /// Continues a statement with the end of the claim.
    fn push_until(statement: Statement<B::Database>, claim: ReplayClaim) -> Statement<B::Database> {
        let lasts = i64::try_from(claim.lasts.as_millis()).unwrap_or(i64::MAX);
        let statement = statement.push("claimed_until_ms = ").push(B::DIALECT.now_ms);
        statement.push(" + ").push_bind(lasts)
    }

    async fn claim_one(&self, prefix: &str, claim: ReplayClaim) -> sqlx::Result<Option<ReplayRow>> {
        let free = |statement: Statement<B::Database>| {
            let statement = statement.push("state IN ('waiting', 'running') ");
            statement.push("AND claimed_until_ms <= ").push(B::DIALECT.now_ms)
        };
        let set = sql("UPDATE replays SET state = 'running', claimed_by = ");
        let set = set.push_bind(bytes(claim.worker)).push(", ");
        let set = Self::push_until(set, claim).push(", updated_ms = ").push(B::DIALECT.now_ms);
        let found = set.push(" WHERE id = (SELECT id FROM replays WHERE prefix = ");
        let found = free(found.push_bind(prefix).push(" AND "));
        let others = found.push(" AND NOT EXISTS (SELECT 1 FROM replays others WHERE prefix = ");
        let others = others.push_bind(prefix).push(" AND claimed_until_ms > ");
        let others = others.push(B::DIALECT.now_ms).push(" AND state = 'running')");
        // Again on the row itself: another process may have claimed it meanwhile.
        let claimed = free(others.push(" ORDER BY updated_ms, id LIMIT 1) AND "))
            .push(concat!(" RETURNING ", columns!()));
        let mut transaction = self.begin().await?;
        let claimed = claimed.optional(&mut transaction).await?;
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Begins a statement that writes `progress`.
    fn push_progress(progress: &ReplayProgress) -> Statement<B::Database> {
        let offset = |offset: Option<u64>| offset.map(integer);
        let first = progress.end.zip(progress.events);
        let first = first.map(|(end, events)| integer(end.saturating_sub(events)));
        sql("UPDATE replays SET first_offset = ")
            .push_bind(first)
            .push(", end_offset = ")
            .push_bind(offset(progress.end))
            .push(", next_offset = ")
            .push_bind(offset(progress.position))
            .push(", events_read = ")
            .push_bind(integer(progress.read))
            .push(", sent = ")
            .push_bind(integer(progress.sent))
            .push(", unreadable = ")
            .push_bind(integer(progress.unreadable))
            .push(", gone = ")
            .push_bind(integer(progress.gone))
            .push(", left_out = ")
            .push_bind(integer(progress.left_out))
            .push(", archive_begins_ms = ")
            .push_bind(progress.archive_begins_ms.map(UnixMillis::get))
            .push(", note = ")
            .push_bind(progress.note.clone())
            .push(", updated_ms = ")
            .push(B::DIALECT.now_ms)
            .push(", ")
    }

    /// Ends a statement that writes a replay that `claim` has; returns the state.
    async fn written(
        statement: Statement<B::Database>,
        (id, claim): (ReplayId, ReplayClaim),
        transaction: &mut Tx<B::Database>,
    ) -> sqlx::Result<Option<ReplayState>> {
        let statement = statement.push(" WHERE id = ").push_bind(bytes(id.uuid()));
        let statement = statement.push(" AND claimed_by = ").push_bind(bytes(claim.worker));
        let statement = statement.push(" RETURNING state");
        let state: Option<(String,)> = statement.optional(transaction).await?;
        state.map(|(state,)| state.parse().map_err(sqlx::Error::decode)).transpose()
    }

    async fn leave(
        &self,
        id: ReplayId,
        state: ReplayState,
        progress: &ReplayProgress,
        claim: ReplayClaim,
    ) -> sqlx::Result<bool> {
        let set = Self::push_progress(progress).push("claimed_by = NULL, claimed_until_ms = 0, ");
        let set = set.push("state = CASE state WHEN 'running' THEN ").push_bind(state.as_str());
        let set = set.push(" ELSE state END");
        let mut transaction = self.begin().await?;
        let left = Self::written(set, (id, claim), &mut transaction).await?;
        if left == Some(state) && matches!(state, ReplayState::Done | ReplayState::Failed) {
            let mut ended = change(id, Action::Ended);
            if state == ReplayState::Failed {
                ended.result = ChangeResult::Failed;
            }
            let counts = [
                ("read", progress.read),
                ("sent", progress.sent),
                ("unreadable", progress.unreadable),
                ("gone", progress.gone),
                ("left_out", progress.left_out),
            ];
            for (name, count) in counts {
                ended.difference.insert(name.to_owned(), count.into());
            }
            if let Some(note) = &progress.note {
                ended.difference.insert("note".to_owned(), note.as_str().into());
            }
            self.note(&mut transaction, &ended).await?;
        }
        transaction.commit().await?;
        Ok(left.is_some())
    }

    async fn set_replay(
        &self,
        statement: &'static str,
        (prefix, id): (&str, ReplayId),
        (action, state): (Action, ReplayState),
    ) -> sqlx::Result<bool> {
        let set = sql(statement).bind(prefix).bind(bytes(id.uuid())).bind(clock::now().get());
        let mut change = change(id, action);
        let after = from_to(serde_json::Value::Null, state.as_str());
        change.difference.insert("state".to_owned(), after);
        self.change(set, &change).await
    }
}

#[async_trait]
impl<B: Backend> ReplayStore for SqlStore<B> {
    async fn create_replay(
        &self,
        prefix: &str,
        selection: &ReplaySelection,
    ) -> Result<Option<Replay>, StoreError> {
        self.ask("adding a replay", self.add_replay(prefix, selection)).await
    }

    async fn replay(&self, prefix: &str, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        let read = async {
            let row = sql(GET).bind(prefix).bind(bytes(id.uuid()));
            self.optional::<ReplayRow>(row).await?.map(ReplayRow::read).transpose()
        };
        self.ask("reading a replay", read).await
    }

    async fn replays(&self, prefix: &str, limit: u32) -> Result<Vec<Replay>, StoreError> {
        let read = async {
            let rows = sql(LIST).bind(prefix).bind(i64::from(limit.min(MAX_REPLAYS)));
            self.all::<ReplayRow>(rows).await?.into_iter().map(ReplayRow::read).collect()
        };
        self.ask("reading the replays", read).await
    }

    async fn stop_replay(&self, prefix: &str, id: ReplayId) -> Result<bool, StoreError> {
        let change = (Action::Stopped, ReplayState::Stopped);
        self.ask("stopping a replay", self.set_replay(STOP, (prefix, id), change)).await
    }

    async fn resume_replay(&self, prefix: &str, id: ReplayId) -> Result<bool, StoreError> {
        let change = (Action::Resumed, ReplayState::Waiting);
        self.ask("resuming a replay", self.set_replay(RESUME, (prefix, id), change)).await
    }

    async fn claim_replay(
        &self,
        prefix: &str,
        claim: ReplayClaim,
    ) -> Result<Option<Replay>, StoreError> {
        let claimed =
            async { self.claim_one(prefix, claim).await?.map(ReplayRow::read).transpose() };
        self.ask("claiming a replay", claimed).await
    }

    async fn advance_replay(
        &self,
        id: ReplayId,
        progress: &ReplayProgress,
        claim: ReplayClaim,
    ) -> Result<Option<ReplayState>, StoreError> {
        let advanced = async {
            let set = Self::push_until(Self::push_progress(progress), claim);
            // It was stopped and resumed meanwhile.
            let set = set.push(", state = CASE state WHEN 'waiting' THEN 'running' ELSE state END");
            let mut transaction = self.begin_relaxed().await?;
            let state = Self::written(set, (id, claim), &mut transaction).await?;
            transaction.commit().await?;
            Ok(state)
        };
        self.ask("writing how far a replay is", advanced).await
    }

    async fn leave_replay(
        &self,
        id: ReplayId,
        state: ReplayState,
        progress: &ReplayProgress,
        claim: ReplayClaim,
    ) -> Result<bool, StoreError> {
        self.ask("leaving a replay", self.leave(id, state, progress, claim)).await
    }
}
