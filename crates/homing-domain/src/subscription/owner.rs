//! The owner and the labels of a subscription: what operators know it by.

use std::collections::BTreeMap;

use super::{Draft, FieldError, wrong::all};

const MAX_OWNER_CHARS: usize = 200;
/// Labels of one subscription.
pub const MAX_LABELS: usize = 20;
const MAX_LABEL_NAME: usize = 64;
const MAX_LABEL_VALUE_CHARS: usize = 200;

impl Draft {
    pub(super) fn owner(&self) -> Result<Option<String>, FieldError> {
        let owner = self.owner.as_deref().map(str::trim).filter(|owner| !owner.is_empty());
        match owner {
            Some(owner) if !is_line(owner, MAX_OWNER_CHARS) => {
                let message = format!("one line of at most {MAX_OWNER_CHARS} characters");
                Err(FieldError::new("owner", message))
            }
            Some(_) | None => Ok(owner.map(str::to_owned)),
        }
    }

    pub(super) fn labels(&self) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
        if self.labels.len() > MAX_LABELS {
            let message = format!("{} labels; at most {MAX_LABELS}", self.labels.len());
            return Err(vec![FieldError::new("labels", message)]);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        all(self.labels.iter().map(|(name, value)| {
            let is_name = (1..=MAX_LABEL_NAME).contains(&name.len()) && name.chars().all(fits);
            let message = if !is_name {
                format!("a name has 1 to {MAX_LABEL_NAME} letters, digits, `-`, `_`, `.` and `/`")
            } else if !is_line(value, MAX_LABEL_VALUE_CHARS) {
                format!("a value is one line of at most {MAX_LABEL_VALUE_CHARS} characters")
            } else {
                return Ok((name.clone(), value.clone()));
            };
            Err(FieldError::new(format!("labels.{name}"), message))
        }))
    }
}

/// One line, which both databases can store.
fn is_line(text: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_and_labels_are_lines() {
        let mut draft = Draft::new("https://a/", "t");
        draft.owner = Some("  Team Ähre  ".to_owned());
        draft.labels = BTreeMap::from([("team/name".to_owned(), "billing é".to_owned())]);
        let spec = draft.build(&[]).unwrap();
        assert_eq!(spec.owner.as_deref(), Some("Team Ähre"));
        assert_eq!(spec.labels, draft.labels);
        draft.owner = Some(" ".to_owned());
        assert_eq!(draft.build(&[]).unwrap().owner, None);

        draft.owner = Some("a\nb".to_owned());
        draft.labels =
            BTreeMap::from([("a b".to_owned(), String::new()), ("c".to_owned(), "\0".to_owned())]);
        let errors = draft.build(&[]).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["owner", "labels.a b", "labels.c"]);
        draft.labels = (0..=MAX_LABELS).map(|n| (n.to_string(), String::new())).collect();
        assert!(draft.build(&[]).unwrap_err().to_string().contains("at most 20"));
    }
}
