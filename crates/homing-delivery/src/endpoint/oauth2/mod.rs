//! OAuth 2.0 access tokens, obtained by the client credentials grant (RFC 6749, 4.4).
//!
//! A token is asked for once in its lifetime, however many workers and subscriptions send it: it is
//! kept here, and shared through the store, where one worker at a time claims to ask for it
//! (`asker`). It is renewed in the background, before it expires; no delivery asks by itself, and
//! none waits for longer than a caller says. A token endpoint that fails is asked ever more seldom,
//! and deliveries without a token are no attempts.
//!
//! | what goes wrong | what follows |
//! |---|---|
//! | the store is away | the present token is sent on; a worker asks for itself alone |
//! | the worker that asks dies | its claim ends, and another one asks |
//! | an endpoint does not accept a token any more | it is renewed, if it is older than a minute; others get it until the next one is there |
//! | the token endpoint fails then | nothing is sent until it answers |
//! | the token endpoint fails while the token is accepted | the token is sent on until it expires |

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    client::Client,
    policy::Permitted,
    recent::{Recent, SWEEP_INTERVAL},
    sweeping::Sweeping,
};
use homing_domain::subscription::{CredentialsId, OAuth2Credentials};
use homing_store::Store;

mod asker;
mod request;
mod token;

use asker::Asker;
pub(super) use token::Token;
pub use token::TokenError;
use token::{Failure, State};

/// Credentials whose tokens are kept in memory.
const MAX_KEPT: usize = 1_000;
/// A token that an endpoint refuses is not renewed before it is that old, so that an endpoint which
/// refuses all of them costs one token request in this time.
const MIN_AGE: Duration = Duration::from_secs(60);

/// The tokens of one [`Endpoints`](super::Endpoints).
pub(super) struct Tokens {
    asker: Arc<Asker>,
    kept: Mutex<Recent<CredentialsId, Arc<Entry>>>,
    /// The task that drops what is not used.
    sweeping: Sweeping,
}

/// The token for some credentials.
struct Entry {
    credentials: OAuth2Credentials,
    state: watch::Sender<State>,
    /// The task that asks for the next one, if one does.
    asking: Mutex<JoinSet<()>>,
}

impl Tokens {
    /// Asks over `client`, only at URLs that are `permitted`; without a store, for this process alone.
    pub(super) fn new(
        client: Client,
        permitted: Permitted,
        store: Option<Arc<dyn Store>>,
    ) -> Arc<Self> {
        let asker = Arc::new(Asker::new(client, permitted, store));
        let kept = Mutex::new(Recent::new(MAX_KEPT));
        Arc::new(Self { asker, kept, sweeping: Sweeping::default() })
    }

    /// The token for `credentials`; waits for one for `patience` at most.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: there is none now.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses nothing: the request goes on.
    pub(super) async fn get(
        self: &Arc<Self>,
        credentials: &OAuth2Credentials,
        patience: Duration,
    ) -> Result<Arc<Token>, TokenError> {
        let (entry, now) = (self.entry(credentials), Instant::now());
        let (usable, is_due, failure) = {
            let state = entry.state.borrow();
            let failure = state.failing(now).map(|failure| failure.error.clone());
            (state.usable(now).cloned(), state.is_due(now), failure)
        };
        if let (None, Some(error)) = (&usable, failure) {
            return Err(error);
        }
        if is_due {
            self.ask(&entry);
        }
        match usable {
            Some(token) => Ok(token),
            None => entry.wait(now + patience).await,
        }
    }

    /// Another token than `refused`, which an endpoint does not accept; `None`: there is none until
    /// `deadline`, or `refused` is too young to be renewed.
    pub(super) async fn renewed(
        self: &Arc<Self>,
        credentials: &OAuth2Credentials,
        refused: &Arc<Token>,
        deadline: Instant,
    ) -> Option<Arc<Token>> {
        let (entry, now) = (self.entry(credentials), Instant::now());
        let present = entry.state.borrow().usable(now).cloned();
        match present {
            Some(other) if !Arc::ptr_eq(&other, refused) => return Some(other),
            Some(_) if refused.age() < MIN_AGE => return None,
            Some(_) => entry.refuse(refused),
            None => {}
        }
        if entry.state.borrow().failing(now).is_some() {
            return None;
        }
        self.ask(&entry);
        entry.wait_for_other(refused, deadline).await
    }

    fn entry(self: &Arc<Self>, credentials: &OAuth2Credentials) -> Arc<Entry> {
        let (id, now) = (credentials.id(), Instant::now());
        if let Some(entry) = self.kept.lock().find(id, now) {
            return entry;
        }
        self.sweeping.begin(self, SWEEP_INTERVAL, |it| it.kept.lock().sweep(Instant::now()));
        let entry = Arc::new(Entry {
            credentials: credentials.clone(),
            state: watch::Sender::default(),
            asking: Mutex::default(),
        });
        self.kept.lock().keep(id, entry, now)
    }

    /// Has the next token asked for, if it is not yet.
    fn ask(&self, entry: &Arc<Entry>) {
        let mut asking = entry.asking.lock();
        while asking.try_join_next().is_some() {}
        if asking.is_empty() {
            let (worker, entry) = (Arc::clone(&self.asker), Arc::clone(entry));
            asking.spawn(async move {
                let present = entry.state.borrow().clone();
                let asked = worker.next(&entry.credentials, &present).await;
                entry.state.send_modify(|state| match asked {
                    Ok(token) => *state = State::of(token),
                    Err(failure) => state.failure = Some(failure),
                });
            });
        }
    }
}

impl Entry {
    /// Waits for a token, or for the reason why there is none.
    async fn wait(&self, deadline: Instant) -> Result<Arc<Token>, TokenError> {
        let mut states = self.state.subscribe();
        let is_known = |state: &State| {
            let now = Instant::now();
            state.usable(now).is_some() || state.failing(now).is_some()
        };
        let pending = || TokenError::pending(&self.credentials);
        let waited = timeout_at(deadline, states.wait_for(is_known)).await;
        let Ok(Ok(state)) = waited else { return Err(pending()) };
        match (state.usable(Instant::now()), &state.failure) {
            (Some(token), _) => Ok(Arc::clone(token)),
            (None, Some(Failure { error, .. })) => Err(error.clone()),
            (None, None) => Err(pending()),
        }
    }

    /// Waits for another token than `refused`; `None`: there is none in time, or none is obtained.
    async fn wait_for_other(&self, refused: &Arc<Token>, deadline: Instant) -> Option<Arc<Token>> {
        let is_other = |token: &&Arc<Token>| !Arc::ptr_eq(token, refused);
        let mut states = self.state.subscribe();
        let is_known = |state: &State| {
            state.token.as_ref().is_some_and(|token| is_other(&token))
                || state.failing(Instant::now()).is_some()
        };
        let state = timeout_at(deadline, states.wait_for(is_known)).await.ok()?.ok()?;
        state.usable(Instant::now()).filter(is_other).cloned()
    }

    fn refuse(&self, refused: &Arc<Token>) {
        self.state.send_if_modified(|state| {
            let is_present = state.token.as_ref().is_some_and(|it| Arc::ptr_eq(it, refused));
            state.is_refused |= is_present;
            is_present
        });
    }
}

#[cfg(test)]
mod tests;
