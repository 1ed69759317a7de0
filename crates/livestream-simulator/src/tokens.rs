//! The token service: accepts any credentials, and knows its tokens until they expire.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Tokens issued.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The client of each, and the expiry.
    valid: HashMap<String, (String, Instant)>,
    given: u64,
}

impl Tokens {
    pub(super) fn give(&mut self, client_id: &str, lifetime: Duration) -> String {
        let now = Instant::now();
        self.valid.retain(|_, (_, until)| *until > now);
        self.given = self.given.saturating_add(1);
        let token = format!("simulated-token-{}", self.given);
        self.valid.insert(token.clone(), (client_id.to_owned(), now + lifetime));
        token
    }

    /// The client of `token`.
    pub(super) fn client(&self, token: &str) -> Option<&str> {
        let (client_id, until) = self.valid.get(token)?;
        (*until > Instant::now()).then_some(client_id)
    }

    pub(super) fn expire(&mut self) {
        self.valid.clear();
    }

    pub(super) fn given(&self) -> u64 {
        self.given
    }
}
