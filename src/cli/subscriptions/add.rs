//! `homing subscriptions add`

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::{
    cli::{
        Output,
        failure::{Exit, Failure},
        globals,
    },
    domain::{
        filter::Connector,
        signature::SigningSecret,
        subscription::{Draft, FieldError},
    },
    registry::{Made, View},
    service::Parts,
};

const EXAMPLES: &str = "\
Examples:
  homing subscriptions add --url https://example.com/hook --topic order.paid --topic 'refund.#'
  homing subscriptions add --url https://example.com/wf --topic TASK.UPDATE \\
      --filter '{\"fieldName\":\"status\",\"comparison\":\"eq\",\"fieldValue\":\"CPL\"}'
  homing subscriptions add --from subscription.json

In a topic `*` is one word and `#` any number of words. Without --secret-file or --unsigned a
signing secret is made; it is printed this once.";

/// More than any subscription needs.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Where to send
    #[arg(long, help = "Where to send: https://host/path", required_unless_present = "from")]
    url: Option<String>,
    /// Which events; may be repeated
    #[arg(long, value_name = "PATTERN", required_unless_present = "from")]
    topic: Vec<String>,
    /// Only events whose body passes this filter, in Workfront's form; may be repeated
    #[arg(long, value_name = "JSON")]
    filter: Vec<String>,
    /// Whether all filters must hold or one of them
    #[arg(long, value_enum, ignore_case = true, default_value = "and")]
    filter_connector: ConnectorName,
    /// Sent as `Authorization: Bearer`; other users of this machine can see it, prefer the file
    #[arg(long, value_name = "TOKEN", conflicts_with = "auth_token_file")]
    auth_token: Option<String>,
    /// A file with that token
    #[arg(long, value_name = "FILE")]
    auth_token_file: Option<String>,
    /// Sent with every request; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The schedule of its retries; `homing schedule --all` shows those that there are
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Requests per second that the endpoint takes, from all workers together
    #[arg(long, value_name = "NUMBER")]
    rate_limit: Option<u32>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Do not sign requests
    #[arg(long, conflicts_with = "secret_file")]
    unsigned: bool,
    /// A file with signing secrets (whsec_…), one a line; all of them sign
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// All of it as JSON, as the API takes it; `-`: standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "url", "topic", "filter", "auth_token", "auth_token_file", "header", "schedule", "rate_limit",
        "description", "unsigned", "secret_file",
    ])]
    from: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ConnectorName {
    /// All of them
    And,
    /// One of them
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

pub(super) async fn run(
    parts: &Parts,
    arguments: Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let draft = match &arguments.from {
        Some(file) => parse(&read(file).await?, "subscription")?,
        None => draft(arguments).await?,
    };
    // Telling the workers connects, which may create queues.
    globals::remember_queues(parts).await.map_err(Failure::Store)?;
    let made = parts.registry.make(draft).await.map_err(Failure::Registry)?;
    write(&made, output)?;
    Ok(Exit::Done)
}

fn write(made: &Made, output: &mut Output<'_>) -> Result<(), Failure> {
    let subscription = View::from(&made.subscription);
    let secret = made.secret.as_ref().map(SigningSecret::reveal);
    if output.json {
        return output.document(&json!({ "subscription": subscription, "secret": secret }));
    }
    output.line(format_args!("added   {}", subscription.id))?;
    match secret {
        Some(secret) => {
            output.line(format_args!("secret  {secret}"))?;
            output
                .aside("The receiver verifies signatures with this secret; it is not shown again.");
            Ok(())
        }
        None => Ok(()),
    }
}

async fn draft(arguments: Arguments) -> Result<Draft, Failure> {
    let filters = arguments
        .filter
        .iter()
        .enumerate()
        .map(|(index, text)| parse::<Value>(text, &format!("filters[{index}]")));
    let filters = filters.collect::<Result<_, _>>()?;
    let auth_token = match (arguments.auth_token, &arguments.auth_token_file) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => Some(read(file).await?.trim().to_owned()),
        (None, None) => None,
    };
    let secrets = match &arguments.secret_file {
        Some(file) => Some(lines(&read(file).await?)),
        None => arguments.unsigned.then(Vec::new),
    };
    Ok(Draft {
        url: arguments.url.unwrap_or_default(),
        topics: arguments.topic,
        filters,
        filter_connector: arguments.filter_connector.into(),
        auth_token,
        secrets,
        headers: headers(&arguments.header)?,
        schedule: arguments.schedule,
        rate_limit: arguments.rate_limit,
        description: arguments.description,
    })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn headers(written: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let split = |text: &String| {
        text.split_once(':')
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .ok_or_else(|| Failure::Usage("--header: write it as 'Name: value'".to_owned()))
    };
    written.iter().map(split).collect()
}

/// Names the field at fault by its path below `field`.
fn parse<T: DeserializeOwned>(text: &str, field: &str) -> Result<T, Failure> {
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
        Failure::Field(FieldError::new(path, error))
    })?;
    reader.end().map_err(|error| Failure::Field(FieldError::new(field, error)))?;
    Ok(read)
}

/// A small file; `-` is standard input.
pub(super) async fn read(file: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Read {
        what: if file == "-" { "standard input".to_owned() } else { format!("`{file}`") },
        source,
    };
    let mut text = String::new();
    if file == "-" {
        tokio::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(failed)?;
    } else {
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        opened.take(FILE_BYTES_MAX).read_to_string(&mut text).await.map_err(failed)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse::<Draft>(text, "subscription").err().unwrap().told()
    }

    #[test]
    fn a_bad_draft_names_the_field() {
        insta::assert_snapshot!(error("nothing"), @"`subscription`: this is not JSON: expected ident at line 1 column 2");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["#), @"`subscription`: this is not JSON: EOF while parsing a list at line 1 column 21");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":"t"}"#), @r#"`topics`: invalid type: string "t", expected a sequence at line 1 column 23"#);
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["t"],"filter":[]}"#), @"`filter`: unknown field `filter`, expected one of `url`, `topics`, `filters`, `filter_connector`, `auth_token`, `secrets`, `headers`, `schedule`, `rate_limit`, `description` at line 1 column 34");
        insta::assert_snapshot!(error(r#"{"url":"x","topics":["t"]} {}"#), @"`subscription`: trailing characters at line 1 column 28");
    }

    #[test]
    fn a_filter_that_is_not_json_is_named_by_its_place() {
        let error = parse::<Value>(r#"{"fieldName": status}"#, "filters[0]").unwrap_err();
        insta::assert_snapshot!(error.told(), @"`filters[0]`: this is not JSON: expected value at line 1 column 15");
    }

    #[test]
    fn headers_are_split_at_the_first_colon() {
        let split = headers(&["X-At: 12:30".to_owned()]).ok().unwrap();
        assert_eq!(split.get("X-At").map(String::as_str), Some("12:30"));
        assert!(headers(&["X-At".to_owned()]).is_err());
    }
}
