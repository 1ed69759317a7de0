//! Asks for a token: the one worker that has claimed to, for all of them.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{
    request::{self, NotObtained, Obtained},
    token::{Failure, State, Token, TokenError, shown},
};
use crate::endpoint::{client::Client, policy::Permitted};
use homing_domain::subscription::{CredentialsId, OAuth2Credentials};
use homing_store::{OAuth2Claim, OAuth2TokenId, OAuth2TokenState, Store, StoreError};
use homing_telemetry::{line_limit::LineLimit, log_events, metrics};

/// From the connect to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 64 * 1_024;
/// A claim lasts for longer than a request, and as long as a worker that died is waited for.
const CLAIM: Duration = Duration::from_secs(20);
/// While another worker asks, its answer is looked for this often.
const POLL: Duration = Duration::from_millis(250);
/// A store that does not answer within this is done without.
const STORE_DEADLINE: Duration = Duration::from_secs(3);
/// For all steps together.
const TOTAL_DEADLINE: Duration = Duration::from_secs(60);
/// The pause after the first failure, which doubles with each further one …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause that a token endpoint asks for with `Retry-After`.
const LONGEST_REQUESTED: Duration = Duration::from_mins(5);

/// Lines a minute about token requests that failed.
const MAX_LINES: usize = 100;

/// Asks for tokens, and shares them through the store.
pub(super) struct Asker {
    client: Client,
    permitted: Permitted,
    store: Option<Arc<dyn Store>>,
    lines: Mutex<LineLimit<CredentialsId>>,
}

impl Asker {
    pub(super) fn new(client: Client, permitted: Permitted, store: Option<Arc<dyn Store>>) -> Self {
        let lines = Mutex::new(LineLimit::new(MAX_LINES));
        Self { client, permitted, store, lines }
    }

    /// The token behind the present one.
    ///
    /// # Errors
    ///
    /// [`Failure`]: there is none, and when to try again.
    pub(super) async fn next(
        &self,
        credentials: &OAuth2Credentials,
        present: &State,
    ) -> Result<Token, Failure> {
        let failures = present.failure.as_ref().map_or(0, |failure| failure.count);
        match timeout(TOTAL_DEADLINE, self.shared(credentials, present, failures)).await {
            Ok(asked) => asked,
            Err(_elapsed) => {
                let error = TokenError::new(credentials, "there was no answer in time");
                Err(failed(error, failures, FIRST_PAUSE))
            }
        }
    }

    /// The next token from the store, or from the token endpoint for all workers.
    async fn shared(
        &self,
        credentials: &OAuth2Credentials,
        present: &State,
        failures: u32,
    ) -> Result<Token, Failure> {
        let Some(store) = &self.store else { return self.alone(credentials, present).await };
        let id = store.oauth2_token_id(credentials);
        let mut generation = present.token.as_ref().map_or(0, |token| token.generation);
        loop {
            let claim = store.claim_oauth2_token(&id, generation, CLAIM);
            let state = match within("claiming a token request", claim).await {
                Some(OAuth2Claim::Won { generation, failures }) => {
                    let claimed = (generation, failures);
                    return self.for_all(store.as_ref(), &id, credentials, claimed).await;
                }
                Some(OAuth2Claim::Lost(state)) => state,
                Some(OAuth2Claim::Unshared) | None => {
                    return self.alone(credentials, present).await;
                }
            };
            let OAuth2TokenState { token, claimed, retry_in, error, .. } = state;
            if state.generation != generation {
                generation = state.generation;
                match token.filter(|token| !token.left.is_zero()) {
                    Some(it) => return Ok(Token::new(it.token, generation, it.age, it.left)),
                    // It has expired: the next one is asked for.
                    None => continue,
                }
            }
            if claimed.is_zero() && !retry_in.is_zero() {
                let error =
                    error.map_or_else(|| TokenError::pending(credentials), TokenError::noted);
                return Err(failed(error, failures, retry_in));
            }
            sleep(POLL).await;
        }
    }

    /// Asks for all workers, which wait for what is noted in the store.
    async fn for_all(
        &self,
        store: &dyn Store,
        id: &OAuth2TokenId,
        credentials: &OAuth2Credentials,
        (generation, failures): (i64, u32),
    ) -> Result<Token, Failure> {
        let noted = match self.request(credentials, failures).await {
            Ok(Obtained { token, left }) => {
                let kept = store.keep_oauth2_token(id, generation, (&token, left));
                let _logged = within("keeping a token", kept).await;
                let next = generation.saturating_add(1);
                return Ok(Token::new(token, next, Duration::ZERO, left));
            }
            Err(failure) => failure,
        };
        let pause = noted.until.saturating_duration_since(Instant::now());
        let text = noted.error.to_string();
        let failed = store.oauth2_token_failed(id, generation, (&text, pause));
        let _logged = within("noting that a token request failed", failed).await;
        Err(noted)
    }

    /// Asks for this process alone.
    async fn alone(
        &self,
        credentials: &OAuth2Credentials,
        present: &State,
    ) -> Result<Token, Failure> {
        let failures = present.failure.as_ref().map_or(0, |failure| failure.count);
        let generation = present.token.as_ref().map_or(0, |token| token.generation);
        let Obtained { token, left } = self.request(credentials, failures).await?;
        // As far as the store knows, it is the present one still.
        Ok(Token::new(token, generation, Duration::ZERO, left))
    }

    /// Makes one token request; `failures` were made in vain before it.
    async fn request(
        &self,
        credentials: &OAuth2Credentials,
        failures: u32,
    ) -> Result<Obtained, Failure> {
        let client = &credentials.client_id;
        match self.answer(credentials).await {
            Ok(obtained) => {
                metrics::token_request("obtained");
                log_events::token_obtained(&shown(credentials), client, obtained.left);
                Ok(obtained)
            }
            Err(NotObtained { result, what, retry_after }) => {
                metrics::token_request(result);
                let error = TokenError::new(credentials, &what);
                if self.lines.lock().is_due(credentials.id(), Instant::now()) {
                    log_events::token_not_obtained(client, &error);
                }
                let requested = retry_after.unwrap_or_default().min(LONGEST_REQUESTED);
                let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
                let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
                Err(failed(error, failures, pause.max(requested)))
            }
        }
    }

    async fn answer(&self, credentials: &OAuth2Credentials) -> Result<Obtained, NotObtained> {
        let url =
            credentials.token_endpoint().map_err(|wrong| NotObtained::unsent(&wrong.message))?;
        if let Some(refused) = self.permitted.refusal(&url) {
            return Err(NotObtained::unsent(&refused.to_string()));
        }
        let build = || request::build(credentials, &url);
        let response = self.client.fetch(build, DEADLINE, MAX_ANSWER_BYTES).await;
        let response = response.map_err(|error| NotObtained::unreachable(&error.to_string()))?;
        request::read(&response, credentials)
    }
}

/// Waits for a step of the store no longer than a token may; `None`: it failed, which is logged.
async fn within<T>(step: &str, work: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match timeout(STORE_DEADLINE, work).await {
        Ok(Ok(done)) => return Some(done),
        Ok(Err(error)) => log_events::store_unavailable(step, &error),
        Err(elapsed) => log_events::store_unavailable(step, &elapsed),
    }
    None
}

fn failed(error: TokenError, failures: u32, pause: Duration) -> Failure {
    Failure { error, until: Instant::now() + pause, count: failures.saturating_add(1) }
}
