//! Sessions: an opaque cookie represents the token of a login.
//!
//! Every request checks the token, so a deleted one is refused. Sessions are in memory: after a
//! restart visitors have to log in again.

use std::{collections::HashMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use tokio::time::Instant;

use homing_domain::clock;

/// The lifetime of a session, and of one that is not used.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// Sessions at one time; the least recently used one makes room.
const MAX_SESSIONS: usize = 1_000;

/// All sessions of this process.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    token: Vec<u8>,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_over(&self) -> bool {
        self.began.elapsed() >= LASTS || self.used.elapsed() >= IDLE
    }
}

impl Sessions {
    /// Begins a session with `token`; returns the value of its cookie, of 256 random bits.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness to give.
    pub(crate) fn begin(&self, token: &[u8]) -> Result<String, getrandom::Error> {
        let id = URL_SAFE_NO_PAD.encode(clock::random::<32>()?);
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| !session.is_over());
        if sessions.len() >= MAX_SESSIONS {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used);
            if let Some(id) = idlest.map(|(id, _)| id.clone()) {
                sessions.remove(&id);
            }
        }
        let now = Instant::now();
        sessions.insert(id.clone(), Session { token: token.to_vec(), began: now, used: now });
        Ok(id)
    }

    /// The token of the session `id`.
    pub(crate) fn token(&self, id: &str) -> Option<Vec<u8>> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(id).filter(|session| !session.is_over())?;
        session.used = Instant::now();
        Some(session.token.clone())
    }

    /// Ends the session `id`.
    pub(crate) fn end(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_when_it_is_idle_or_old_or_logged_out() {
        let sessions = Sessions::default();
        let idle = sessions.begin(b"token").unwrap();
        let used = sessions.begin(b"token").unwrap();
        assert_ne!(idle, used);
        assert_eq!(sessions.token("made up"), None);
        for _ in 0..11 {
            advance(Duration::from_secs(60 * 60)).await;
            assert_eq!(sessions.token(&used).as_deref(), Some(&b"token"[..]));
        }
        assert_eq!(sessions.token(&idle), None);
        advance(Duration::from_secs(60 * 60)).await;
        assert_eq!(sessions.token(&used), None, "twelve hours have passed");
        let ended = sessions.begin(b"token").unwrap();
        sessions.end(&ended);
        assert_eq!(sessions.token(&ended), None);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_are_bounded_and_the_least_recently_used_one_ends() {
        let sessions = Sessions::default();
        let first = sessions.begin(b"t").unwrap();
        let second = sessions.begin(b"t").unwrap();
        advance(Duration::from_secs(1)).await;
        sessions.token(&first);
        for _ in 2..=MAX_SESSIONS {
            sessions.begin(b"t").unwrap();
        }
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
        assert!(sessions.token(&first).is_some() && sessions.token(&second).is_none());
    }
}
