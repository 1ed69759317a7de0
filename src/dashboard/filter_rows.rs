//! Filters in a form: as rows, one for each, or as JSON, which has groups as well.
//!
//! The value of a row is a text, or JSON: `CUR`, `5`, `true`, `"5"`, `["a", "b"]`. So every
//! filter comes back from its row as it was.

use std::fmt::Display;

use serde_json::{Value, json};

use super::fields::{Fields, Wrong};
use homing_domain::filter::MAX_FILTERS;

/// The comparisons, with what they say.
pub(super) const COMPARISONS: [(&str, &str); 10] = [
    ("eq", "is"),
    ("ne", "is not"),
    ("gt", "is greater than"),
    ("gte", "is at least"),
    ("lt", "is less than"),
    ("lte", "is at most"),
    ("contains", "contains"),
    ("notContains", "does not contain"),
    ("containsOnly", "contains only"),
    ("changed", "changed"),
];

/// A filter as the texts of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) comparison: String,
    pub(super) value: String,
    pub(super) is_old: bool,
}

/// The filters of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FilterTexts {
    /// At least one, which may be empty.
    Rows(Vec<Row>),
    /// A list in JSON.
    Json(String),
}

/// The filters that a form gives.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The filters as a draft has them.
    pub(super) filters: Vec<Value>,
    /// The row of each; empty where they are JSON.
    pub(super) rows: Vec<usize>,
}

impl Default for FilterTexts {
    fn default() -> Self {
        Self::Rows(vec![Row::default()])
    }
}

impl FilterTexts {
    /// Of an existing subscription.
    pub(super) fn of(filters: &[Value]) -> Self {
        let rows: Option<Vec<_>> = filters.iter().map(row).collect();
        match rows {
            Some(rows) if rows.is_empty() => Self::default(),
            Some(rows) => Self::Rows(rows),
            None => Self::Json(pretty(filters)),
        }
    }

    /// As sent, to be shown again.
    pub(super) fn sent(fields: &Fields) -> Self {
        let is_json = match fields.given("filters_as") {
            Some(form) => form == "json",
            None => fields.given("filters").is_some(),
        };
        if is_json {
            return Self::Json(fields.text("filters").to_owned());
        }
        let number = fields.text("filter_rows").parse().unwrap_or(1).clamp(1, MAX_FILTERS);
        let text = |row, part| fields.text(&format!("filter_{row}_{part}")).to_owned();
        let row = |row| Row {
            name: text(row, "name"),
            comparison: text(row, "comparison"),
            value: text(row, "value"),
            is_old: text(row, "state") == "oldState",
        };
        Self::Rows((0..number).map(row).collect())
    }

    /// The filters; what is wrong is noted at its row, or at `filters`.
    pub(super) fn given(&self, wrong: &mut Wrong) -> Given {
        match self {
            Self::Json(text) => Given { filters: parsed(text, wrong), rows: Vec::new() },
            Self::Rows(rows) => {
                let mut given = Given::default();
                let filled = rows.iter().enumerate().filter(|(_, row)| !row.is_empty());
                for (index, row) in filled {
                    match row.filter() {
                        Ok(filter) => {
                            given.filters.push(filter);
                            given.rows.push(index);
                        }
                        Err(message) => wrong.add(&error_of(index), message),
                    }
                }
                given
            }
        }
    }

    /// The same with a row more.
    pub(super) fn with_row(self) -> Self {
        match self {
            Self::Rows(mut rows) if rows.len() < MAX_FILTERS => {
                rows.push(Row::default());
                Self::Rows(rows)
            }
            same @ (Self::Rows(_) | Self::Json(_)) => same,
        }
    }

    /// The same as JSON, or as rows; unchanged with an error where that cannot be.
    pub(super) fn turned(self, wrong: &mut Wrong) -> Self {
        let mut problems = Wrong::default();
        let given = self.given(&mut problems);
        if !problems.is_empty() {
            wrong.extend(problems);
            return self;
        }
        match self {
            Self::Rows(_) if given.filters.is_empty() => Self::Json(String::new()),
            Self::Rows(_) => Self::Json(pretty(&given.filters)),
            Self::Json(_) => match Self::of(&given.filters) {
                rows @ Self::Rows(_) => rows,
                Self::Json(text) => {
                    let message = "a group, or what is no filter, cannot be a row";
                    wrong.add("filters", message.to_owned());
                    Self::Json(text)
                }
            },
        }
    }

    /// The rows; none where they are JSON.
    pub(super) fn rows(&self) -> &[Row] {
        match self {
            Self::Rows(rows) => rows,
            Self::Json(_) => &[],
        }
    }

    /// The text, if they are JSON.
    pub(super) fn json(&self) -> Option<&str> {
        match self {
            Self::Rows(_) => None,
            Self::Json(text) => Some(text),
        }
    }
}

/// The name under which errors of a row are noted.
pub(super) fn error_of(row: impl Display) -> String {
    format!("filter_{row}")
}

impl Row {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.value.is_empty()
    }

    fn filter(&self) -> Result<Value, String> {
        let comparison = Some(self.comparison.as_str()).filter(|it| !it.is_empty());
        let state = if self.is_old { "oldState" } else { "newState" };
        let mut filter = json!({
            "fieldName": self.name, "comparison": comparison.unwrap_or("eq"), "state": state,
        });
        let needs_none = comparison == Some("changed") && self.value.is_empty();
        if let (false, Some(fields)) = (needs_none, filter.as_object_mut()) {
            fields.insert("fieldValue".to_owned(), value(&self.value)?);
        }
        Ok(filter)
    }
}

/// The row of a filter; `None`: it has no place in one.
fn row(filter: &Value) -> Option<Row> {
    let fields = filter.as_object()?;
    let known = ["fieldName", "fieldValue", "comparison", "state"];
    if fields.keys().any(|name| !known.contains(&name.as_str())) {
        return None;
    }
    let text = |name: &str| fields.get(name).map_or(Some(""), Value::as_str);
    let comparison = text("comparison")?;
    Some(Row {
        name: text("fieldName")?.to_owned(),
        comparison: COMPARISONS.iter().find(|(word, _)| *word == comparison)?.0.to_owned(),
        value: fields.get("fieldValue").map(written).unwrap_or_default(),
        is_old: match text("state")? {
            "" | "newState" => false,
            "oldState" => true,
            _ => return None,
        },
    })
}

/// The value of a row.
fn value(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) if text.starts_with(['[', '{', '"']) => {
            Err(format!("the value begins as JSON, and is none: {error}"))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// The text of a value, from which it is read again.
fn written(value: &Value) -> String {
    if let Value::String(text) = value
        && self::value(text).as_ref() == Ok(value)
        && text.trim() == text
    {
        return text.clone();
    }
    value.to_string()
}

fn parsed(text: &str, wrong: &mut Wrong) -> Vec<Value> {
    if text.is_empty() {
        return Vec::new();
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(filters)) => filters,
        Ok(filter @ Value::Object(_)) => vec![filter],
        Ok(_) => {
            wrong.add("filters", "a list of filters in JSON: [{…}]".to_owned());
            Vec::new()
        }
        Err(error) => {
            wrong.add("filters", format!("not JSON: {error}"));
            Vec::new()
        }
    }
}

fn pretty(filters: &[Value]) -> String {
    let ordered: Vec<_> = filters.iter().map(ordered).collect();
    serde_json::to_string_pretty(&ordered).unwrap_or_default()
}

/// A filter without the state that it has in any case.
fn ordered(filter: &Value) -> Value {
    let mut filter = filter.clone();
    if let Some(fields) = filter.as_object_mut()
        && fields.get("state").is_some_and(|state| state == "newState")
    {
        fields.remove("state");
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(filters: &Value) -> FilterTexts {
        FilterTexts::of(filters.as_array().unwrap())
    }

    #[test]
    fn filters_come_back_from_rows_as_they_were() {
        let filters = json!([
            {"fieldName": "status", "comparison": "eq", "fieldValue": "CUR", "state": "newState"},
            {"fieldName": "n", "comparison": "gt", "fieldValue": 5, "state": "newState"},
            {"fieldName": "n", "comparison": "eq", "fieldValue": "5", "state": "oldState"},
            {"fieldName": "t", "comparison": "eq", "fieldValue": "true", "state": "newState"},
            {"fieldName": "t", "comparison": "eq", "fieldValue": "[x", "state": "newState"},
            {"fieldName": "t", "comparison": "eq", "fieldValue": " x ", "state": "newState"},
            {"fieldName": "t", "comparison": "eq", "fieldValue": "", "state": "newState"},
            {"fieldName": "t", "comparison": "eq", "fieldValue": null, "state": "newState"},
            {"fieldName": "l", "comparison": "containsOnly", "fieldValue": ["a"], "state": "newState"},
            {"fieldName": "c", "comparison": "changed", "state": "newState"},
        ]);
        let mut wrong = Wrong::default();
        let given = rows(&filters).given(&mut wrong);
        assert!(wrong.is_empty());
        assert_eq!(Value::from(given.filters), filters);
        assert_eq!(given.rows, (0..10).collect::<Vec<_>>());
        let json = rows(&filters).turned(&mut wrong);
        assert!(json.json().is_some() && wrong.is_empty());
        assert_eq!(json.turned(&mut wrong), rows(&filters));
    }

    #[test]
    fn a_group_is_shown_as_json_and_stays_there() {
        let group = json!([{"type": "group", "connector": "OR", "filters": []}]);
        let texts = rows(&group);
        assert!(texts.json().is_some() && texts.rows().is_empty());
        let mut wrong = Wrong::default();
        let same = texts.turned(&mut wrong);
        assert!(same.json().is_some() && wrong.with("filters").is_some());
        assert_eq!(rows(&json!([])), FilterTexts::default());
    }

    #[test]
    fn an_empty_row_is_none_and_a_wrong_one_is_named() {
        let row = |name: &str, value: &str| Row {
            name: name.to_owned(),
            value: value.to_owned(),
            ..Row::default()
        };
        let texts = FilterTexts::Rows(vec![row("", ""), row("a", "[1"), row("b", "x")]);
        let mut wrong = Wrong::default();
        let given = texts.given(&mut wrong);
        assert_eq!(given.rows, [2]);
        assert_eq!(given.filters[0]["comparison"], "eq");
        assert!(wrong.with("filter_1").is_some_and(|it| it.contains("begins as JSON")));
        let same = texts.clone().turned(&mut Wrong::default());
        assert_eq!(same, texts, "what is wrong is not lost");
        assert_eq!(texts.with_row().rows().len(), 4);
    }
}
