//! Circuits in a database: lock, read, apply the rule, write, in one transaction, so that no counts
//! of a worker are lost and only one wins a probe.

use super::{
    MAX_PAGE_LIMIT, StoreError, audit,
    backend::{Backend, Dialect, SqlStore, ask},
    circuit_row::{self, FoundCircuit},
    circuits::{
        CircuitChange, CircuitListing, CircuitOrder, CircuitPage, Intervention, MAX_PRUNED,
        MergedTallies, ProbeClaim, UnsettledCircuits, UnsettledReading,
    },
    error::Readable,
    statement::{SqlDatabase, Statement, Tx, containing, sql},
    statements::{CIRCUIT, CIRCUIT_COLUMNS, CIRCUITS_VERSION},
};
use homing_domain::{
    audit::{Change, ObjectKind},
    circuit::{Circuit, CircuitRules, EndedProbe, Turn},
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

const CHANGES: &str =
    "SELECT at_ms, what, reason FROM circuit_changes WHERE url = $1 ORDER BY at_ms, what";
const PROBED: &str = "probed";

impl<B: Backend> SqlStore<B> {
    pub(super) async fn merge(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<MergedTallies> {
        let mut merged = MergedTallies::default();
        if tallies.is_empty() {
            return Ok(merged);
        }
        let mut urls: Vec<_> = tallies.iter().map(|(url, _)| url.as_str()).collect();
        urls.sort_unstable();
        urls.dedup();
        let mut transaction = self.begin().await?;
        let mut known = B::lock_circuits(&mut transaction, &urls, now).await?;
        for (url, tally) in tallies {
            match known.get_mut(url.as_str()).ok_or(sqlx::Error::RowNotFound)? {
                Ok(circuit) => {
                    let (next, change) = circuit.record(tally, rules, now);
                    circuit.clone_from(&next);
                    merged.circuits.push((url.clone(), next, change));
                }
                Err(corrupt) => merged.corrupt.push(corrupt.clone()),
            }
        }
        let readable = known.iter().filter_map(|(url, it)| Some((url.as_str(), it.as_ref().ok()?)));
        let readable: Vec<_> = readable.collect();
        B::write_circuits(&mut transaction, &readable, now).await?;
        transaction.commit().await?;
        Ok(merged)
    }

    pub(super) async fn claim(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> sqlx::Result<Readable<ProbeClaim>> {
        let mut transaction = self.begin().await?;
        let row = sql(B::DIALECT.lock_circuit).bind(url.as_str()).optional(&mut transaction);
        let circuit = match row.await? {
            None => Circuit::new(now),
            Some(FoundCircuit(Ok((_url, circuit)))) => circuit,
            Some(FoundCircuit(Err(corrupt))) => {
                transaction.rollback().await?;
                return Ok(Err(corrupt));
            }
        };
        let Some(claimed) = circuit.claim_probe(now, rules) else {
            transaction.rollback().await?;
            return Ok(Ok(ProbeClaim::Lost(circuit)));
        };
        B::write_circuits(&mut transaction, &[(url.as_str(), &claimed)], now).await?;
        transaction.commit().await?;
        Ok(Ok(ProbeClaim::Won(claimed)))
    }

    pub(super) async fn intervene(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> sqlx::Result<Turn> {
        let mut has_changed = true;
        // A circuit that cannot be read is replaced: this is how an operator gets rid of it.
        let turn = |known: Readable<Circuit>| {
            let known = known.ok();
            let turned = intervention.turn(known.clone(), now);
            has_changed = known.as_ref() != Some(&turned.0);
            Ok(turned)
        };
        let mut transaction = self.begin().await?;
        let turned = self.turn(&mut transaction, url, now, turn).await?;
        let turned = turned.map_err(sqlx::Error::decode)?;
        if let Some(action) = intervention.action().filter(|_| has_changed) {
            let change = Change::new(ObjectKind::Endpoint, url.as_str(), action);
            let mut difference = audit::circuit(&turned);
            difference.extend(intervention.facts());
            let change = change.with(difference);
            self.note(&mut transaction, &change).await?;
        }
        transaction.commit().await?;
        Ok(turned)
    }

    /// Saves the outcome of a probe.
    pub(super) async fn end_probe(
        &self,
        url: &EndpointUrl,
        probe: &EndedProbe<'_>,
        rules: &CircuitRules,
    ) -> sqlx::Result<Readable<Turn>> {
        let now = probe.ended;
        let turn = |known: Readable<Circuit>| known.map(|it| it.record_probe(probe, rules));
        let mut transaction = self.begin().await?;
        let turned = self.turn(&mut transaction, url, now, turn).await?;
        transaction.commit().await?;
        Ok(turned)
    }

    /// Applies `rule` to the circuit of `url`, a new one where there is none, and writes the result
    /// if there is one.
    async fn turn(
        &self,
        transaction: &mut Tx<B::Database>,
        url: &EndpointUrl,
        now: UnixMillis,
        rule: impl FnOnce(Readable<Circuit>) -> Readable<Turn> + Send,
    ) -> sqlx::Result<Readable<Turn>> {
        let mut locked = B::lock_circuits(transaction, &[url.as_str()], now).await?;
        let known = locked.remove(url.as_str()).ok_or(sqlx::Error::RowNotFound)?;
        let turned = rule(known);
        if let Ok((circuit, _change)) = &turned {
            B::write_circuits(transaction, &[(url.as_str(), circuit)], now).await?;
        }
        Ok(turned)
    }

    pub(super) async fn find_circuit(
        &self,
        url: &EndpointUrl,
    ) -> sqlx::Result<Readable<Option<Circuit>>> {
        let found = self.optional(sql(CIRCUIT).bind(url.as_str())).await?;
        Ok(found.map(|FoundCircuit(found)| found.map(|(_url, circuit)| circuit)).transpose())
    }

    pub(super) async fn list_circuits(&self, page: &CircuitPage) -> sqlx::Result<CircuitListing> {
        let rows = self.all(listing(page, &B::DIALECT)).await?;
        Ok(circuit_row::page(rows, page.order, limit(page)))
    }

    pub(super) async fn list_changes(&self, url: &EndpointUrl) -> sqlx::Result<Vec<CircuitChange>> {
        let rows = self.all::<(i64, String, Option<String>)>(sql(CHANGES).bind(url.as_str()));
        let change = |(at, what, reason): (i64, String, Option<String>)| {
            let state = what.parse().ok();
            // A state of a later version is no probe.
            (state.is_some() || what == PROBED).then(|| CircuitChange {
                at: UnixMillis::new(at),
                state,
                reason: reason.and_then(|reason| serde_json::from_str(&reason).ok()),
            })
        };
        Ok(rows.await?.into_iter().filter_map(change).collect())
    }

    /// In batches, each with a deadline of its own, at one instant.
    pub(super) async fn read_unsettled(&self) -> Result<UnsettledCircuits, StoreError> {
        let begun = async {
            let mut transaction = self.begin_snapshot().await?;
            let (version,) = sql(CIRCUITS_VERSION).one(&mut transaction).await?;
            Ok((transaction, version))
        };
        let step = "beginning to read the circuits that are not closed";
        let (mut transaction, version) = self.ask(step, begun).await?;
        let mut reading = UnsettledReading::new(version);
        while let Some(page) = reading.page() {
            let rows = listing(page, &B::DIALECT).all(&mut transaction);
            let rows = ask::<B, _>("reading the circuits that are not closed", rows).await?;
            let (order, limit) = (page.order, limit(page));
            reading.add(circuit_row::page(rows, order, limit));
        }
        let step = "ending to read the circuits that are not closed";
        ask::<B, _>(step, transaction.rollback()).await?;
        Ok(reading.end())
    }

    pub(super) async fn version_of_circuits(&self) -> sqlx::Result<i64> {
        self.one(sql(CIRCUITS_VERSION)).await.map(|(version,)| version)
    }

    pub(super) async fn prune(&self, before: UnixMillis) -> sqlx::Result<u64> {
        let prune = sql(B::DIALECT.prune_circuits).bind(before.get()).bind(i64::from(MAX_PRUNED));
        self.execute(prune).await
    }
}

fn limit(page: &CircuitPage) -> u32 {
    page.limit.clamp(1, MAX_PAGE_LIMIT)
}

/// The circuits of a page and one more.
fn listing<DB: SqlDatabase>(page: &CircuitPage, dialect: &Dialect) -> Statement<DB> {
    let key = page.order.key();
    let mut select = sql(format!("SELECT {CIRCUIT_COLUMNS}, CAST({key} AS bigint) AS sort_key"));
    select = select.push(" FROM circuits");
    if let Some(indexed_by) = dialect.indexed_by.filter(|_| page.failing) {
        select = select.push(indexed_by).push("circuits_that_fail");
    }
    select = select.push(" WHERE ");
    let (above, after) = circuit_row::behind(page);
    select = if page.order == CircuitOrder::Url {
        select.push("url > ").push_bind(after)
    } else {
        select = select.push(key).push(" <= ").push_bind(above);
        select = select.push(" AND (").push(key).push(" < ").push_bind(above);
        select.push(" OR url > ").push_bind(after).push(")")
    };
    if let Some(state) = page.state {
        select = select.push(" AND state = ").push_bind(state.as_str());
    }
    if page.failing {
        // Exactly the condition of the index, or no database uses it.
        select = select.push(" AND state = 'closed' AND failures_in_a_row >= 2");
    }
    if let Some(part) = &page.contains {
        select = select.push(" AND url").push(dialect.like).push_bind(containing(part));
        select = select.push(" ESCAPE '\\'");
    }
    let order = if page.order == CircuitOrder::Url {
        " ORDER BY url"
    } else {
        " ORDER BY sort_key DESC, url"
    };
    select.push(order).push(" LIMIT ").push_bind(i64::from(limit(page)).saturating_add(1))
}
