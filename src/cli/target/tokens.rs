//! Tokens for the API.

use reqwest::Method;
use serde_json::json;

use super::Target;
use crate::{
    api::forms::{CreatedToken, TokenError, Tokens},
    cli::{failure::Failure, remote::Parameters, words},
};
use homing_domain::api_token::{Scope, TokenName};

impl Target<'_> {
    /// All tokens of the store.
    pub(in crate::cli) async fn tokens(self) -> Result<Tokens, Failure> {
        match self {
            Self::Here(services) => {
                Tokens::read(services.store.as_ref()).await.map_err(Failure::Store)
            }
            Self::There(api) => api.get(&["v1", "tokens"], Parameters::default()).await,
        }
    }

    /// Creates a token.
    pub(in crate::cli) async fn create_token(
        self,
        name: TokenName,
        scope: Scope,
    ) -> Result<CreatedToken, Failure> {
        match self {
            Self::Here(services) => {
                let created = CreatedToken::new(services.store.as_ref(), name, scope).await;
                created.map_err(|error| match error {
                    TokenError::Taken(name) => {
                        let name = name.to_string();
                        let delete = words::with_operand("homing tokens delete", &name);
                        let text = format!("there is a token `{name}` already; `{delete}` first");
                        Failure::Taken(text)
                    }
                    TokenError::Randomness(error) => Failure::Randomness(error),
                    TokenError::Store(error) => Failure::Store(error),
                })
            }
            Self::There(api) => {
                let request = (Method::POST, &["v1", "tokens"][..]);
                let document = json!({ "name": name, "scope": scope });
                api.submit(request, Parameters::default(), &document).await
            }
        }
    }

    /// Deletes a token.
    pub(in crate::cli) async fn delete_token(self, name: &TokenName) -> Result<(), Failure> {
        match self {
            Self::Here(services) => {
                let removed = services.store.remove_token(name.as_str()).await;
                if removed.map_err(Failure::Store)? {
                    Ok(())
                } else {
                    Err(Failure::NotFound(format!("there is no token `{name}`")))
                }
            }
            Self::There(api) => api.delete(&["v1", "tokens", name.as_str()]).await,
        }
    }
}
