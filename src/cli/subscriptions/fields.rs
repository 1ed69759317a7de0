//! The fields of a subscription as flags: `create` and `update` take the same.

use clap::ValueEnum;
use clap_complete::ArgValueCandidates;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;

use super::{authentication::Credentials, template::TemplateFields};
use crate::cli::{complete, failure::Failure};
use homing_domain::{
    filter::Connector,
    report::without_types,
    subscription::{EventFormat, FieldError, VerificationMethod},
};

/// More than any subscription needs.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

#[derive(clap::Args)]
pub(in crate::cli) struct Fields {
    /// Where to send
    #[arg(long, help = "Where to send: https://host/path")]
    url: Option<String>,
    /// Events with a topic like this; may be repeated
    #[arg(long, value_name = "PATTERN")]
    #[arg(add = ArgValueCandidates::new(complete::topics))]
    topic: Vec<String>,
    /// Only events that pass this filter; may be repeated
    #[arg(long, value_name = "JSON")]
    filter: Vec<String>,
    /// All filters must hold (and), or one of them
    #[arg(long, ignore_case = true, value_name = "and|or", hide_possible_values = true)]
    filter_connector: Option<ConnectorName>,
    /// Sent as bearer token; others here can see it, prefer the file
    #[arg(long, value_name = "TOKEN", conflicts_with = "auth_token_file")]
    auth_token: Option<String>,
    /// A file with that token
    #[arg(long, value_name = "FILE")]
    auth_token_file: Option<String>,
    #[command(flatten)]
    credentials: Credentials,
    /// A PEM file with the client certificate for the endpoint
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<String>,
    /// A PEM file with its private key
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<String>,
    /// Sent with every request; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The schedule of its retries; see `homing schedule --all`
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Requests per second that the endpoint takes from all workers
    #[arg(long, value_name = "NUMBER")]
    rate_limit: Option<u32>,
    /// Deadline of one attempt, a minute at most: 30s
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Requests at a time, from all workers
    #[arg(long, value_name = "NUMBER")]
    max_concurrency: Option<u32>,
    /// native, cloudevents-structured or cloudevents-binary
    #[arg(long, value_name = "FORMAT")]
    format: Option<EventFormat>,
    /// Ask the endpoint for consent first: handshake or challenge
    #[arg(long, value_name = "METHOD")]
    verification: Option<VerificationMethod>,
    /// A note for operators
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whom to ask about it
    #[arg(long, value_name = "TEXT")]
    owner: Option<String>,
    /// A name and a value to know it by; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    #[command(flatten)]
    template: TemplateFields,
    /// Do not sign requests
    #[arg(long, conflicts_with = "secret_file")]
    unsigned: bool,
    /// A file with signing secrets (whsec_…, whsk_…), one a line
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ConnectorName {
    And,
    Or,
}

impl From<ConnectorName> for Connector {
    fn from(name: ConnectorName) -> Self {
        match name {
            ConnectorName::And => Self::And,
            ConnectorName::Or => Self::Or,
        }
    }
}

impl Fields {
    /// The given fields in the form in which the API takes them.
    pub(super) async fn given(self) -> Result<Map<String, Value>, Failure> {
        let filters = self.filter.iter().enumerate().map(|(index, text)| parse_filter(text, index));
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        let auth_token = match (self.auth_token, &self.auth_token_file) {
            (Some(token), _) => Some(token),
            (None, Some(file)) => Some(read(file).await?.trim().to_owned()),
            (None, None) => None,
        };
        let authentication = self.credentials.given().await?;
        let client_certificate = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (read(certificate).await?, read(key).await?);
                Some(json!({ "certificate": certificate, "key": key }))
            }
            (None, _) | (_, None) => None,
        };
        let secrets = match &self.secret_file {
            Some(file) => Some(lines(&read(file).await?)),
            None => self.unsigned.then(Vec::new),
        };
        let headers = headers(&self.header)?;
        let labels = labels(&self.label)?;
        let connector = self.filter_connector.map(|name| Connector::from(name).as_str());
        let fields = [
            ("url", self.url.map(Value::from)),
            ("topics", (!self.topic.is_empty()).then(|| self.topic.into())),
            ("filters", (!filters.is_empty()).then(|| filters.into())),
            ("filter_connector", connector.map(Value::from)),
            ("auth_token", auth_token.map(Value::from)),
            ("authentication", authentication),
            ("client_certificate", client_certificate),
            ("headers", (!headers.is_empty()).then(|| headers.into())),
            ("schedule", self.schedule.map(Value::from)),
            ("rate_limit", self.rate_limit.map(Value::from)),
            ("deadline", self.deadline.map(Value::from)),
            ("max_concurrency", self.max_concurrency.map(Value::from)),
            ("format", self.format.map(|format| format.as_str().into())),
            ("verification", self.verification.map(|method| method.as_str().into())),
            ("description", self.description.map(Value::from)),
            ("owner", self.owner.map(Value::from)),
            ("labels", (!labels.is_empty()).then(|| labels.into())),
            ("template", self.template.given()?),
            ("secrets", secrets.map(Value::from)),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok(given.collect())
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn headers(written: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut headers = Map::new();
    for text in written {
        let Some((name, value)) = text.split_once(':') else {
            return Err(Failure::Usage("--header: write it as 'Name: value'".to_owned()));
        };
        let name = name.trim();
        if headers.insert(name.to_owned(), value.trim().into()).is_some() {
            return Err(Failure::Usage(format!("--header: `{name}` is given twice")));
        }
    }
    Ok(headers)
}

fn labels(written: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut labels = Map::new();
    for text in written {
        let Some((name, value)) = text.split_once('=') else {
            return Err(Failure::Usage("--label: write it as NAME=VALUE".to_owned()));
        };
        if labels.insert(name.trim().to_owned(), value.trim().into()).is_some() {
            return Err(Failure::Usage(format!("--label: `{name}` is given twice")));
        }
    }
    Ok(labels)
}

/// The filter that is given as number `index`.
pub(in crate::cli) fn parse_filter(text: &str, index: usize) -> Result<Value, Failure> {
    parse(text, &format!("filters[{index}]"))
}

/// Names the field at fault by its path below `field`.
pub(super) fn parse<T: DeserializeOwned>(text: &str, field: &str) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut reader);
    let read = read.map_err(|error| {
        let path = error.path().to_string();
        let error = error.inner();
        if !error.is_data() {
            return Failure::Field(FieldError::new(
                field,
                format_args!("this is not JSON: {error}"),
            ));
        }
        let path = if path == "." { field.to_owned() } else { path };
        Failure::Field(FieldError::new(path, without_types(&error.to_string())))
    })?;
    reader.end().map_err(|error| Failure::Field(FieldError::new(field, error)))?;
    Ok(read)
}

/// A text of a file, without the end of its line: other blanks may belong to it.
pub(super) fn first_line(text: &str) -> String {
    text.trim_end_matches(['\r', '\n']).to_owned()
}

/// A small file; `-` is standard input.
pub(super) async fn read(file: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Read {
        what: if file == "-" { "standard input".to_owned() } else { format!("`{file}`") },
        source,
    };
    let mut text = String::new();
    if file == "-" {
        tokio::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text).await.map_err(failed)?;
    } else {
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        opened.take(MAX_FILE_BYTES).read_to_string(&mut text).await.map_err(failed)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::subscription::Draft;

    fn error(text: &str) -> String {
        parse::<Draft>(text, "subscription").err().unwrap().report()
    }

    #[test]
    fn a_bad_draft_names_the_field() {
        insta::assert_snapshot!(error("nothing"), @"`subscription`: this is not JSON: expected ident at line 1 column 2");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["#), @"`subscription`: this is not JSON: EOF while parsing a list at line 1 column 21");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":"t"}"#), @r#"`topics`: invalid type: string "t", expected a list at line 1 column 23"#);
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["t"],"filter":[]}"#), @"`filter`: unknown field `filter`, expected one of `url`, `topics`, `filters`, `filter_connector`, `auth_token`, `authentication`, `client_certificate`, `secrets`, `signature_scheme`, `headers`, `schedule`, `rate_limit`, `deadline`, `max_concurrency`, `description`, `owner`, `labels`, `workfront`, `format`, `verification`, `template` at line 1 column 34");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["t"]} {}"#), @"`subscription`: trailing characters at line 1 column 28");
    }

    #[test]
    fn a_filter_that_is_not_json_is_named_by_its_place() {
        let error = parse::<Value>(r#"{"fieldName": status}"#, "filters[0]").unwrap_err();
        insta::assert_snapshot!(error.report(), @"`filters[0]`: this is not JSON: expected value at line 1 column 15");
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let split = headers(&["X-At: 12:30".to_owned()]).ok().unwrap();
        assert_eq!(split["X-At"], "12:30");
        assert!(headers(&["X-At".to_owned()]).is_err());
        assert!(headers(&["X-At: 1".to_owned(), "X-At: 2".to_owned()]).is_err());
        let split = labels(&["team=a=b".to_owned()]).ok().unwrap();
        assert_eq!(split["team"], "a=b");
        assert!(labels(&["team".to_owned()]).is_err());
        assert!(labels(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }
}
