//! The form in which a subscription's events are sent.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Draft, FieldError};

/// The form in which events are sent, unless that is Workfront's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum EventFormat {
    /// As published.
    #[default]
    #[serde(rename = "native")]
    Native,
    /// As a CloudEvent, attributes and data in one JSON object.
    #[serde(rename = "cloudevents-structured")]
    CloudEventsStructured,
    /// As a CloudEvent, its attributes in headers (`ce-id`).
    #[serde(rename = "cloudevents-binary")]
    CloudEventsBinary,
}

/// The text is not a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a format is `native`, `cloudevents-structured` or `cloudevents-binary`")]
pub struct EventFormatError;

impl EventFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::CloudEventsStructured, Self::CloudEventsBinary];

    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::CloudEventsStructured => "cloudevents-structured",
            Self::CloudEventsBinary => "cloudevents-binary",
        }
    }

    /// The same; `None` for events as published.
    #[must_use]
    pub fn other_than_native(self) -> Option<Self> {
        (self != Self::Native).then_some(self)
    }
}

impl fmt::Display for EventFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventFormat {
    type Err = EventFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(EventFormatError)
    }
}

impl Draft {
    pub(super) fn format(&self) -> Result<EventFormat, FieldError> {
        let format = self.format.unwrap_or_default();
        if format == EventFormat::Native {
            return Ok(format);
        }
        if self.workfront.is_some() {
            let message = "set either this field or `workfront`: each is a form of all events";
            return Err(FieldError::new("format", message));
        }
        if self.template.is_some() {
            let message = "set either this field or `template`: each is a form of all events";
            return Err(FieldError::new("format", message));
        }
        let is_attribute = |name: &&String| name.to_ascii_lowercase().starts_with("ce-");
        match self.headers.keys().find(is_attribute) {
            Some(name) => Err(FieldError::new(
                format!("headers.{}", name.to_ascii_lowercase()),
                "is an attribute of a CloudEvent, which homing sends in this `format`",
            )),
            None => Ok(format),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::subscription::WorkfrontForm;

    #[test]
    fn a_format_has_the_same_name_everywhere() {
        for format in EventFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
        }
        assert_eq!("binary".parse::<EventFormat>(), Err(EventFormatError));
    }

    #[test]
    fn only_native_bodies_are_those_that_were_published() {
        for format in EventFormat::ALL {
            let draft = Draft { format: Some(format), ..Draft::new("https://a/", "t") };
            let spec = draft.build(&[]).unwrap();
            assert_eq!(spec.sends_as_published(), format == EventFormat::Native, "{format}");
        }
    }

    #[test]
    fn a_format_goes_with_neither_workfronts_form_nor_headers_of_its_own() {
        let draft = Draft {
            format: Some(EventFormat::CloudEventsBinary),
            ..Draft::new("https://a/", "TASK.UPDATE")
        };
        assert_eq!(draft.format(), Ok(EventFormat::CloudEventsBinary));
        let both = Draft { workfront: Some(WorkfrontForm::default()), ..draft.clone() };
        assert_eq!(both.format().unwrap_err().field, "format");
        let headers = BTreeMap::from([("Ce-Id".to_owned(), "7".to_owned())]);
        let taken = Draft { headers, ..draft };
        assert_eq!(taken.format().unwrap_err().field, "headers.ce-id");
        assert_eq!(Draft { format: None, ..taken }.format(), Ok(EventFormat::Native));
    }
}
