//! The flags about credentials, in the form in which the API takes them.

use serde_json::{Map, Value, json};

use super::fields::{first_line, read};
use crate::cli::failure::Failure;
use homing_domain::subscription::TokenEndpointAuthMethod;

/// A section of its own: its long flags would put the texts of all others on lines of their own.
const OAUTH2: &str = "OAuth 2.0 (client credentials)";

#[derive(clap::Args)]
pub(super) struct Credentials {
    /// Sent as Basic; others here can see it, prefer the file
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "basic_file")]
    basic: Option<String>,
    /// A file with USER:PASSWORD
    #[arg(long, value_name = "FILE")]
    basic_file: Option<String>,
    /// Where to ask for a token
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "URL", requires_all = ["oauth2_client_id", "oauth2_client_secret_file"])]
    #[arg(conflicts_with_all = ["basic", "basic_file"])]
    oauth2_token_url: Option<String>,
    /// The client
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "ID", requires = "oauth2_token_url")]
    oauth2_client_id: Option<String>,
    /// A file with the client's secret
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "FILE", requires = "oauth2_token_url")]
    oauth2_client_secret_file: Option<String>,
    /// Scopes, with blanks between
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "SCOPE", requires = "oauth2_token_url")]
    oauth2_scope: Option<String>,
    /// The audience of the token
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "AUDIENCE", requires = "oauth2_token_url")]
    oauth2_audience: Option<String>,
    /// `client_secret_basic` or `client_secret_post`
    #[arg(help_heading = OAUTH2)]
    #[arg(long, value_name = "METHOD", requires = "oauth2_token_url")]
    oauth2_token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
}

impl Credentials {
    /// The value of `authentication`, if one was given.
    pub(super) async fn given(self) -> Result<Option<Value>, Failure> {
        let basic = match (self.basic, &self.basic_file) {
            (Some(pair), _) => Some(pair),
            (None, Some(file)) => Some(first_line(&read(file).await?)),
            (None, None) => None,
        };
        if let Some(pair) = basic {
            return authentication(&pair).map(Some);
        }
        let Some(token_url) = self.oauth2_token_url else { return Ok(None) };
        let secret = match &self.oauth2_client_secret_file {
            Some(file) => Some(first_line(&read(file).await?)),
            None => None,
        };
        let method = self.oauth2_token_endpoint_auth_method.map(TokenEndpointAuthMethod::as_str);
        let fields = [
            ("token_url", Some(token_url)),
            ("client_id", self.oauth2_client_id),
            ("client_secret", secret),
            ("scope", self.oauth2_scope),
            ("audience", self.oauth2_audience),
            ("token_endpoint_auth_method", method.map(str::to_owned)),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let oauth2: Map<_, _> =
            given.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        Ok(Some(json!({ "oauth2": oauth2 })))
    }
}

/// Basic credentials in the form in which the API takes them.
fn authentication(pair: &str) -> Result<Value, Failure> {
    let Some((username, password)) = pair.split_once(':') else {
        return Err(Failure::Usage("--basic: write it as USER:PASSWORD".to_owned()));
    };
    Ok(json!({ "basic": { "username": username, "password": password } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons() {
        let basic = authentication("user:a:b").ok().unwrap();
        assert_eq!(basic, json!({"basic": {"username": "user", "password": "a:b"}}));
        assert!(authentication("user").is_err());
    }
}
