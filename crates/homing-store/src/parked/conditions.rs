//! From a selection to the groups of tests of a [`Search`].

use super::{
    HeldFor, ParkedId, Selection,
    read::COUNTED_AT_ONCE,
    row::bytes,
    search::{Check, Column, Group, Search, Test, Value},
};
use crate::{
    StoreError,
    backend::{Backend, SqlStore},
    statement::{containing, sql},
};
use homing_domain::{
    error_group::ErrorId,
    status_range::StatusRange,
    topic::{Topic, TopicPattern},
    verdict::ParkReason,
};

/// Different values of a column that are compared at most.
const MAX_VALUES: u32 = 10_000;
const TEXT_TOO_BROAD: StoreError = StoreError::TooBroad { field: "text", most: MAX_VALUES };
/// Rows of each condition that are counted at most, to find out which is the narrowest.
const ESTIMATED_ROWS: usize = 2_000;
/// Branches of one statement at most: each costs half a millisecond to plan. SQLite takes 500.
/// Source: SQLite, *Limits*, 4.
const MAX_BRANCHES: usize = 100;

impl<B: Backend> SqlStore<B> {
    /// Prepares a search; `None`: it finds nothing.
    pub(super) async fn search(&self, selection: &Selection) -> Result<Option<Search>, StoreError> {
        let mut groups: Vec<Group> = plain(selection);
        if let Some(pattern) = &selection.topic
            && pattern.as_str() != "#"
        {
            groups.push(self.of_topic(pattern).await?);
        }
        if let Some(status) = selection.status {
            groups.push(self.of_status(status).await?);
        }
        if let Some(text) = &selection.text {
            groups.push(self.of_text(text.as_str()).await?);
        }
        if groups.iter().any(Group::is_empty) {
            return Ok(None);
        }
        let leading = self.take_narrowest(&mut groups).await?;
        let mut search = Search {
            leading,
            others: groups.into_iter().map(Check::of).collect(),
            from: selection.parked_after_ms.map(ParkedId::floor),
            below: selection.parked_before_ms.map(ParkedId::floor),
            only: selection.id.into_iter().chain(selection.ids.iter().copied()).collect(),
            is_dense: false,
        };
        let is_unled = search.leading.is_empty() && !search.others.is_empty();
        if is_unled && search.only.is_empty() && B::DIALECT.indexed_by.is_some() {
            let (step, most) = ("comparing conditions on parked deliveries", COUNTED_AT_ONCE);
            search.is_dense = self.ask(step, self.count_found(&search, most)).await? >= most;
        }
        Ok(Some(search))
    }

    /// Takes out the group that leads to the fewest rows; an empty one if none has few enough tests.
    async fn take_narrowest(&self, groups: &mut Vec<Group>) -> Result<Group, StoreError> {
        let mut narrowest = None;
        let (is_choice, step) = (groups.len() > 1, "comparing conditions on parked deliveries");
        for (index, group) in groups.iter().enumerate() {
            if group.len() > MAX_BRANCHES {
                continue;
            }
            let rows = if is_choice { self.ask(step, self.estimate(group)).await? } else { 0 };
            let found = (rows, group.len(), group.iter().map(Test::column).max(), index);
            narrowest = Some(narrowest.map_or(found, |known: (_, _, _, usize)| known.min(found)));
        }
        Ok(narrowest.map(|(_, _, _, index)| groups.remove(index)).unwrap_or_default())
    }

    /// Counts the rows of a group, as long as they are few.
    async fn estimate(&self, group: &Group) -> sqlx::Result<i64> {
        let limit = i64::try_from(ESTIMATED_ROWS / group.len().max(1)).unwrap_or(i64::MAX);
        let mut count = sql("SELECT CAST(count(*) AS bigint) FROM (");
        for (index, test) in group.iter().enumerate() {
            count = count.push(if index == 0 { "" } else { " UNION ALL " });
            count = test.push(count.push("SELECT id FROM (SELECT id FROM parked WHERE "));
            count = count.push(" LIMIT ").push_bind(limit.saturating_add(1)).push(") AS branch");
        }
        let (count,): (i64,) = self.one(count.push(") AS found")).await?;
        Ok(count)
    }

    async fn of_topic(&self, pattern: &TopicPattern) -> Result<Group, StoreError> {
        let is = |topic| Test::Is(Column::Topic, Value::Text(topic));
        if pattern.is_exact() {
            return Ok(vec![is(pattern.as_str().to_owned())]);
        }
        let prefix = literal_prefix(pattern.as_str());
        let Some(topics) = self.values(Column::Topic, prefix).await? else {
            let (field, most) = ("topic", MAX_VALUES);
            return Err(StoreError::TooBroad { field, most });
        };
        let matches = |topic: &String| Topic::new(topic).is_ok_and(|topic| pattern.matches(&topic));
        Ok(topics.into_iter().filter(matches).map(is).collect())
    }

    /// The statuses of a class that there are: each costs one look into the index.
    async fn of_status(&self, status: StatusRange) -> Result<Group, StoreError> {
        const NEXT: &str = "WITH RECURSIVE seen(value) AS ( \
            SELECT min(status) FROM parked WHERE status >= $1 AND status <= $2 UNION ALL \
            SELECT (SELECT min(status) FROM parked WHERE status > seen.value AND status <= $2) \
            FROM seen WHERE seen.value IS NOT NULL) \
            SELECT CAST(value AS bigint) FROM seen WHERE value IS NOT NULL";
        let is = |status| Test::Is(Column::Status, Value::Number(status));
        let (first, last) = status.range().into_inner();
        if first == last {
            return Ok(vec![is(i64::from(first))]);
        }
        let read = self.all::<(i64,)>(sql(NEXT).bind(i64::from(first)).bind(i64::from(last)));
        let found = self.ask("reading which statuses parked deliveries have", read).await?;
        Ok(found.into_iter().map(|(status,)| is(status)).collect())
    }

    async fn of_text(&self, text: &str) -> Result<Group, StoreError> {
        let mut tests = vec![Test::Begins(Column::Event, text.to_owned())];
        if let Ok(id) = text.parse::<uuid::Uuid>() {
            let is = |column| Test::Is(column, Value::Bytes(bytes(id)));
            tests.extend([is(Column::Delivery), is(Column::Subscription)]);
        }
        let sought = text.to_lowercase();
        for column in [Column::Url, Column::Topic, Column::LastOutcome] {
            // Never with a part of them: what is not found is not sent again.
            let values = self.values(column, "").await?.ok_or(TEXT_TOO_BROAD)?;
            let found = values.into_iter().filter(|value| value.to_lowercase().contains(&sought));
            tests.extend(found.map(|value| Test::Is(column, Value::Text(value))));
        }
        let described = self.ask("searching descriptions", self.described(&sought)).await?;
        if described.len() > usize::try_from(MAX_VALUES).unwrap_or(usize::MAX) {
            return Err(TEXT_TOO_BROAD);
        }
        for (id,) in described {
            if let Ok(id) = id.parse::<uuid::Uuid>() {
                tests.push(Test::Is(Column::Subscription, Value::Bytes(bytes(id))));
            }
        }
        Ok(tests)
    }

    /// The different values of a column that begin with `prefix`; `None`: there are too many. Each
    /// costs one look into the index.
    async fn values(
        &self,
        column: Column,
        prefix: &str,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let column = column.name();
        let next = format!(
            "WITH RECURSIVE seen(value) AS ( \
             SELECT min({column}) FROM parked WHERE {column} >= $1 AND {column} < $2 UNION ALL \
             SELECT (SELECT min({column}) FROM parked \
             WHERE {column} > seen.value AND {column} < $2) \
             FROM seen WHERE seen.value IS NOT NULL) \
             SELECT value FROM seen WHERE value IS NOT NULL LIMIT $3"
        );
        let read = sql(next).bind(prefix).bind(format!("{prefix}{}", char::MAX));
        let read = self.all::<(String,)>(read.bind(i64::from(MAX_VALUES).saturating_add(1)));
        let values = self.ask("reading what parked deliveries have in common", read).await?;
        let fit = values.len() <= usize::try_from(MAX_VALUES).unwrap_or(usize::MAX);
        Ok(fit.then(|| values.into_iter().map(|(value,)| value).collect()))
    }

    async fn described(&self, text: &str) -> sqlx::Result<Vec<(String,)>> {
        let select = sql("SELECT id FROM subscriptions WHERE description").push(B::DIALECT.like);
        let select = select.push_bind(containing(text)).push(" ESCAPE '\\' LIMIT ");
        self.all(select.push_bind(i64::from(MAX_VALUES).saturating_add(1))).await
    }
}

/// The groups of conditions that need no look into the store.
fn plain(selection: &Selection) -> Vec<Group> {
    let is_text = |column, text: &str| vec![Test::Is(column, Value::Text(text.to_owned()))];
    let is_id = |column, id| Test::Is(column, Value::Bytes(bytes(id)));
    let mut groups = Vec::new();
    groups.extend(selection.event.as_deref().map(|event| is_text(Column::Event, event)));
    groups.extend(selection.delivery.map(|id| vec![is_id(Column::Delivery, id.uuid())]));
    groups.extend(selection.subscription.map(|id| vec![is_id(Column::Subscription, id.uuid())]));
    let is_error =
        |error: ErrorId| vec![Test::Is(Column::Error, Value::Bytes(error.as_bytes().to_vec()))];
    groups.extend(selection.error.map(is_error));
    groups.extend(selection.url.as_deref().map(|url| is_text(Column::Url, url)));
    groups.extend(selection.reason.map(|reason| is_text(Column::Reason, reason.as_str())));
    if let Some(HeldFor { subscriptions, .. }) = &selection.held_for {
        use ParkReason::{CircuitOpen, EndpointSlow, Frozen};
        let held = [Frozen, CircuitOpen, EndpointSlow].map(ParkReason::as_str);
        groups.push(held.into_iter().flat_map(|held| is_text(Column::Reason, held)).collect());
        let ids = subscriptions.iter().map(|id| is_id(Column::Subscription, id.uuid()));
        groups.push(ids.collect());
    }
    groups
}

/// The beginning of every topic that `pattern` matches.
fn literal_prefix(pattern: &str) -> &str {
    let wildcard = pattern.split('.').position(|word| matches!(word, "*" | "#")).unwrap_or(0);
    let words = pattern.split('.').take(wildcard);
    let length: usize = words.map(|word| word.len().saturating_add(1)).sum();
    // `a.#` matches `a`, too.
    let prefix = pattern.get(..length).unwrap_or_default();
    if pattern.get(length..) == Some("#") { prefix.trim_end_matches('.') } else { prefix }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_pattern_begins_all_that_it_matches() {
        for (pattern, prefix) in [
            ("order.*", "order."),
            ("order.#", "order"),
            ("a.b.*.c", "a.b."),
            ("a.#.c", "a."),
            ("*.c", ""),
            ("#.c", ""),
        ] {
            assert_eq!(literal_prefix(pattern), prefix, "{pattern}");
        }
    }
}
