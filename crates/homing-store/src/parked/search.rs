//! Statements that read few rows, however many are parked.
//!
//! A selection becomes, by [`conditions`](super::conditions), groups of tests; of each group one must
//! hold, and a test is a comparison of one indexed column. Patterns and texts are compared with the
//! different values that a column has, which an index gives without its rows. The narrowest group
//! leads: each of its tests is a branch that reads one index in the order of the page and ends at the
//! limit of the page; the other groups are checked for the rows that it finds. Their values are bound
//! once, as a list: they may be thousands, more than a statement has parameters.

use std::collections::BTreeMap;

use super::{ParkedId, ParkedOrder};
use crate::{
    backend::Dialect,
    statement::{SqlDatabase, Statement},
};

/// An indexed column, the one that leads to the fewest rows first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Delivery,
    Event,
    Subscription,
    Error,
    Url,
    Topic,
    LastOutcome,
    Status,
    Reason,
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Event => "event",
            Self::Subscription => "subscription",
            Self::Error => "error",
            Self::Url => "url",
            Self::Topic => "topic",
            Self::LastOutcome => "last_outcome",
            Self::Status => "status",
            Self::Reason => "reason",
        }
    }
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Number(i64),
}

/// A comparison of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Is(Column, Value),
    /// It begins with this text.
    Begins(Column, String),
}

impl Test {
    pub(super) fn column(&self) -> Column {
        match self {
            Self::Is(column, _) | Self::Begins(column, _) => *column,
        }
    }

    pub(super) fn push<DB: SqlDatabase>(&self, statement: Statement<DB>) -> Statement<DB> {
        let statement = statement.push(self.column().name());
        match self {
            Self::Is(_, Value::Text(text)) => statement.push(" = ").push_bind(text.as_str()),
            Self::Is(_, Value::Bytes(bytes)) => statement.push(" = ").push_bind(bytes.clone()),
            Self::Is(_, Value::Number(number)) => statement.push(" = ").push_bind(*number),
            Self::Begins(column, text) => {
                let statement = statement.push(" >= ").push_bind(text.as_str());
                let statement = statement.push(" AND ").push(column.name()).push(" < ");
                statement.push_bind(format!("{text}{}", char::MAX))
            }
        }
    }
}

/// SQLite's index of the ids.
const BY_ID: &str = "sqlite_autoindex_parked_1";

/// Tests of which one must hold.
pub(super) type Group = Vec<Test>;

/// Values of a column of which one must be there.
struct List {
    column: Column,
    is_bytes: bool,
    /// An array of texts, or of hexadecimal digits for bytes.
    json: String,
}

/// A group that is checked row by row.
pub(super) struct Check {
    tests: Vec<Test>,
    lists: Vec<List>,
}

impl Check {
    pub(super) fn of(group: Group) -> Self {
        let mut lists = BTreeMap::<_, Vec<String>>::new();
        let mut tests = Vec::new();
        for test in group {
            match test {
                Test::Is(column, Value::Text(text)) => {
                    lists.entry((column, false)).or_default().push(text);
                }
                Test::Is(column, Value::Bytes(bytes)) => {
                    lists.entry((column, true)).or_default().push(hex(&bytes));
                }
                Test::Is(_, Value::Number(_)) | Test::Begins(..) => tests.push(test),
            }
        }
        let list = |((column, is_bytes), values)| {
            let json = serde_json::Value::from(values).to_string();
            List { column, is_bytes, json }
        };
        Self { tests, lists: lists.into_iter().map(list).collect() }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The conditions of a selection, as its statements have them.
pub(super) struct Search {
    /// One branch for each; none: all rows are read in the order of their ids.
    pub(super) leading: Group,
    pub(super) others: Vec<Check>,
    /// At or above.
    pub(super) from: Option<ParkedId>,
    pub(super) below: Option<ParkedId>,
    /// These alone, where there are any.
    pub(super) only: Vec<ParkedId>,
    /// [So many](super::read::COUNTED_AT_ONCE) rows pass the checks: without a leading group, all are read in the order of their ids, or
    /// SQLite sorts those that match for each page.
    pub(super) is_dense: bool,
}

/// The part of a search that one statement reads.
pub(super) struct Range {
    pub(super) order: ParkedOrder,
    pub(super) after: Option<ParkedId>,
    /// None with a higher number.
    pub(super) up_to: Option<u64>,
    pub(super) limit: u32,
    pub(super) claimed: Claimed,
}

/// The deliveries to find, by their claims.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claimed {
    /// All.
    Any,
    /// Those that are not claimed now.
    No,
    /// Those that are claimed now.
    Yes,
}

impl Search {
    /// The same, read in the order of ids where several branches would each read much.
    pub(super) fn in_order(self) -> Self {
        let Self { leading, mut others, .. } = self;
        let is_dense = self.only.is_empty();
        if leading.len() == 1 {
            return Self { leading, others, ..self };
        }
        if !leading.is_empty() {
            others.push(Check::of(leading));
        }
        Self { leading: Group::new(), others, is_dense, ..self }
    }

    /// Continues `statement` with a query of the ids that are found in `range`.
    pub(super) fn push<DB: SqlDatabase>(
        &self,
        mut statement: Statement<DB>,
        range: &Range,
        dialect: &Dialect,
    ) -> Statement<DB> {
        statement = self.push_lists(statement, dialect);
        if self.leading.is_empty() {
            return self.push_branch(statement, None, range, dialect);
        }
        for (index, test) in self.leading.iter().enumerate() {
            if index > 0 {
                statement = statement.push(" UNION ");
            }
            statement = statement.push("SELECT id FROM (");
            statement = self.push_branch(statement, Some(test), range, dialect);
            statement = statement.push(") AS branch");
        }
        statement
    }

    /// Continues `statement` with a query of at most `limit` ids that are found, in no order.
    pub(super) fn push_unordered<DB: SqlDatabase>(
        &self,
        mut statement: Statement<DB>,
        limit: u32,
        dialect: &Dialect,
    ) -> Statement<DB> {
        statement = self.push_lists(statement, dialect);
        statement = statement.push("SELECT id FROM parked WHERE 1 = 1");
        statement = self.push_only(statement);
        if let Some(from) = self.from {
            statement = statement.push(" AND id >= ").push_bind(from.bytes());
        }
        if let Some(below) = self.below {
            statement = statement.push(" AND id < ").push_bind(below.bytes());
        }
        if !self.leading.is_empty() {
            statement = push_any(statement, &self.leading, " AND ((").push("))");
        }
        self.push_checks(statement).push(" LIMIT ").push_bind(i64::from(limit))
    }

    /// Continues with the lists that the checks name.
    fn push_lists<DB: SqlDatabase>(
        &self,
        mut statement: Statement<DB>,
        dialect: &Dialect,
    ) -> Statement<DB> {
        let lists = self.others.iter().flat_map(|check| &check.lists);
        for (number, List { is_bytes, json, .. }) in lists.enumerate() {
            let [before, after] = if *is_bytes { dialect.bytes_of } else { dialect.texts_of };
            statement = statement.push(if number == 0 { "WITH " } else { ", " });
            statement = statement.push(&format!("list{number}(value) AS MATERIALIZED ({before}"));
            statement = statement.push_bind(json.as_str()).push(after).push(") ");
        }
        statement
    }

    /// Continues with the ids to which the search is limited.
    fn push_only<DB: SqlDatabase>(&self, mut statement: Statement<DB>) -> Statement<DB> {
        for (index, id) in self.only.iter().enumerate() {
            let before = if index == 0 { " AND id IN (" } else { ", " };
            statement = statement.push(before).push_bind(id.bytes());
        }
        if self.only.is_empty() { statement } else { statement.push(")") }
    }

    /// Continues with the conditions that one test or list of each check holds.
    fn push_checks<DB: SqlDatabase>(&self, mut statement: Statement<DB>) -> Statement<DB> {
        let mut number = 0_usize;
        for Check { tests, lists } in &self.others {
            let mut before = " AND ((";
            for List { column, .. } in lists {
                let column = column.name();
                let check = format!("{before}{column} IN (SELECT value FROM list{number})");
                statement = statement.push(&check);
                number = number.saturating_add(1);
                before = ") OR (";
            }
            statement = push_any(statement, tests, before).push("))");
        }
        statement
    }

    fn push_branch<DB: SqlDatabase>(
        &self,
        mut statement: Statement<DB>,
        test: Option<&Test>,
        range: &Range,
        dialect: &Dialect,
    ) -> Statement<DB> {
        statement = statement.push("SELECT id FROM parked");
        statement = match (dialect.indexed_by, test) {
            (Some(indexed_by), Some(test)) => {
                statement.push(indexed_by).push("parked_by_").push(test.column().name())
            }
            (Some(indexed_by), None) if self.is_dense => statement.push(indexed_by).push(BY_ID),
            (Some(_), None) | (None, _) => statement,
        };
        statement = statement.push(" WHERE id >= ");
        let (mut from, mut below) = (self.from, self.below);
        match (range.order, range.after) {
            (ParkedOrder::NewestFirst, Some(after)) => {
                below = Some(below.map_or(after, |below| below.min(after)));
            }
            // The one behind it may follow at once, so the lower bound is checked apart.
            (ParkedOrder::OldestFirst, Some(after)) => {
                from = Some(from.map_or(after, |from| from.max(after)));
            }
            (ParkedOrder::NewestFirst | ParkedOrder::OldestFirst, None) => {}
        }
        statement = statement.push_bind(from.map_or_else(|| vec![0; 16], ParkedId::bytes));
        if let (ParkedOrder::OldestFirst, Some(after)) = (range.order, range.after) {
            statement = statement.push(" AND id > ").push_bind(after.bytes());
        }
        statement = self.push_only(statement);
        if let Some(up_to) = range.up_to {
            let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
            statement = statement.push(" AND added <= ").push_bind(up_to);
        }
        if let Some(below) = below {
            statement = statement.push(" AND id < ").push_bind(below.bytes());
        }
        if let Some(test) = test {
            statement = test.push(statement.push(" AND "));
        }
        statement = self.push_checks(statement);
        statement = match range.claimed {
            Claimed::Any => statement,
            Claimed::No => statement.push(" AND claimed_until_ms <= ").push(dialect.now_ms),
            Claimed::Yes => statement.push(" AND claimed_until_ms > ").push(dialect.now_ms),
        };
        let order = match range.order {
            ParkedOrder::NewestFirst => " ORDER BY id DESC LIMIT ",
            ParkedOrder::OldestFirst => " ORDER BY id LIMIT ",
        };
        statement.push(order).push_bind(i64::from(range.limit))
    }
}

/// Continues with tests of which one must hold, the first of them behind `before`.
fn push_any<DB: SqlDatabase>(
    mut statement: Statement<DB>,
    tests: &[Test],
    mut before: &str,
) -> Statement<DB> {
    for test in tests {
        statement = test.push(statement.push(before));
        before = ") OR (";
    }
    statement
}
