//! Values of the settings that are tables.

use config::{Map, Value, ValueKind};

/// The fields of a table.
pub(super) fn table(value: &Value) -> Option<&Map<String, Value>> {
    if let ValueKind::Table(fields) = &value.kind { Some(fields) } else { None }
}

/// The same, to change.
pub(super) fn fields(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if let ValueKind::Table(fields) = &mut value.kind { Some(fields) } else { None }
}

/// The value of a dotted key; an index into a list (`api.tokens[0]`) counts as the list.
pub(super) fn find<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    let key = key.split('[').next().unwrap_or_default();
    let mut names = key.split('.').filter(|name| !name.is_empty());
    names.try_fold(root, |value, name| table(value)?.get(name))
}
