//! Everything of [`Store`] that has no trait of its own: keys, tokens, circuits, and queues.

use std::sync::Arc;

use async_trait::async_trait;

use serde_json::Value;

use super::{
    AuditStore, CircuitChange, CircuitListing, CircuitPage, Intervention, Keys, MergedTallies,
    ProbeClaim, Reencrypted, Store, StoreError, SubscriptionStore, UnsettledCircuits,
    backend::{Backend, SqlStore},
    statement::sql,
    statements::{FORGET_QUEUE, INSERT_TOKEN, QUEUES, REMOVE_TOKEN, TOKENS},
    token_row::TokenRow,
};
use homing_domain::{
    api_token::ApiToken,
    audit::{Action, Actor, Change, ChangeResult, ObjectKind, from_to},
    circuit::{Circuit, CircuitRules, EndedProbe, Turn},
    clock,
    tally::Tally,
    time::UnixMillis,
    url::EndpointUrl,
};

#[async_trait]
impl<B: Backend> Store for SqlStore<B> {
    fn by(&self, actor: &Actor) -> Arc<dyn Store> {
        Arc::new(self.handle(actor))
    }

    async fn keys(&self) -> Result<Keys, StoreError> {
        let used = self.keys_in_use().await?;
        Ok(Keys { primary: self.keyring.primary().clone(), used })
    }

    async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        let primary = self.keyring.primary().to_string();
        let rotated = Change::new(ObjectKind::Keys, primary, Action::Rotated);
        let id = self.record_change(&rotated.clone().resulting(ChangeResult::Begun)).await?;
        let mut renewed = Reencrypted::default();
        let done = self.renew_all(&mut renewed).await;
        let is_whole = done.is_ok() && renewed.is_whole();
        let result = if is_whole { ChangeResult::Done } else { ChangeResult::Failed };
        let rotated = rotated.with(renewed.counts()).resulting(result);
        let ended = self.change_ended(id, &rotated).await;
        done.and(ended).map(|()| renewed)
    }

    async fn insert_token(&self, token: &ApiToken) -> Result<bool, StoreError> {
        let row = TokenRow::from(token);
        let insert = sql(INSERT_TOKEN).bind(row.name).bind(row.digest).bind(row.scope);
        let insert = insert.bind(row.created_ms);
        let mut created = Change::new(ObjectKind::Token, token.name.as_str(), Action::Created);
        created.difference.insert("scope".to_owned(), from_to(Value::Null, token.scope.as_str()));
        self.ask("adding a token", self.change(insert, &created)).await
    }

    async fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let deleted = Change::new(ObjectKind::Token, name, Action::Deleted);
        let delete = self.change(sql(REMOVE_TOKEN).bind(name), &deleted);
        self.ask("removing a token", delete).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let read = async {
            let rows = self.all(sql(TOKENS)).await?;
            rows.into_iter().map(TokenRow::build).collect()
        };
        self.ask("reading the tokens", read).await
    }

    async fn merge_tallies(
        &self,
        tallies: &[(EndpointUrl, Tally)],
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<MergedTallies, StoreError> {
        self.ask("counting attempts", self.merge(tallies, rules, now)).await
    }

    async fn claim_probe(
        &self,
        url: &EndpointUrl,
        rules: &CircuitRules,
        now: UnixMillis,
    ) -> Result<ProbeClaim, StoreError> {
        let claim = self.ask("claiming a probe", self.claim(url, rules, now)).await?;
        claim.map_err(StoreError::CorruptCircuit)
    }

    async fn probe_ended(
        &self,
        url: &EndpointUrl,
        probe: &EndedProbe<'_>,
        rules: &CircuitRules,
    ) -> Result<Turn, StoreError> {
        let ended = self.ask("counting a probe", self.end_probe(url, probe, rules)).await?;
        ended.map_err(StoreError::CorruptCircuit)
    }

    async fn set_circuit(
        &self,
        url: &EndpointUrl,
        intervention: Intervention,
        now: UnixMillis,
    ) -> Result<Turn, StoreError> {
        self.ask("changing a circuit", self.intervene(url, intervention, now)).await
    }

    async fn circuit(&self, url: &EndpointUrl) -> Result<Option<Circuit>, StoreError> {
        let found = self.ask("reading a circuit", self.find_circuit(url)).await?;
        found.map_err(StoreError::CorruptCircuit)
    }

    async fn circuits(&self, page: &CircuitPage) -> Result<CircuitListing, StoreError> {
        self.ask("listing circuits", self.list_circuits(page)).await
    }

    async fn circuit_changes(&self, url: &EndpointUrl) -> Result<Vec<CircuitChange>, StoreError> {
        self.ask("reading the life of a circuit", self.list_changes(url)).await
    }

    async fn unsettled_circuits(&self) -> Result<UnsettledCircuits, StoreError> {
        self.read_unsettled().await
    }

    async fn circuits_version(&self) -> Result<i64, StoreError> {
        self.ask("reading the version of the circuits", self.version_of_circuits()).await
    }

    async fn prune_circuits(&self, before: UnixMillis) -> Result<u64, StoreError> {
        self.ask("forgetting closed circuits", self.prune(before)).await
    }

    async fn remember_queues(&self, names: &[String]) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        // All processes use the same order, so that no two wait for each other.
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        let now = clock::now().get();
        let mut insert = sql("INSERT INTO queues (name, first_declared_ms) VALUES ");
        for (index, name) in names.into_iter().enumerate() {
            insert = insert.push(if index == 0 { "(" } else { ", (" }).push_bind(name);
            insert = insert.push(", ").push_bind(now).push(")");
        }
        let insert = self.execute(insert.push(" ON CONFLICT (name) DO NOTHING"));
        self.ask("remembering queues", insert).await.map(drop)
    }

    async fn known_queues(&self) -> Result<Vec<String>, StoreError> {
        let names = self.all::<(String,)>(sql(QUEUES));
        let names = self.ask("reading the known queues", names).await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    async fn forget_queue(&self, name: &str) -> Result<bool, StoreError> {
        let forget = self.execute(sql(FORGET_QUEUE).bind(name));
        Ok(self.ask("forgetting a queue", forget).await? > 0)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.subscriptions_version().await.map(drop)
    }

    async fn close(&self) {
        self.backend.readers().close().await;
        self.backend.writer().close().await;
    }
}
