//! The reconnect rule: what follows the end of a connection, or a failed attempt to open one.
//!
//! Neither the service nor its proxies can distinguish a client that dropped for a moment from one
//! that has disappeared: a client that reconnects repeatedly gets 409 and 503. So homing waits
//! after every loss, and never less because of other trouble.

use std::{fmt, time::Duration};

use homing_domain::{
    source::{Phase, SlotReport},
    time::UnixMillis,
};

/// The end of a connection, or of an attempt to open one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// It was open until it was lost.
    Lost(String),
    /// It could not be opened; there was no response.
    Unreachable(String),
    /// The service answered anything but 200.
    Refused(Refusal),
    /// The service redirects to where the token must not go.
    BadRedirect(String),
    /// The token service refused the credentials.
    NoToken(String),
}

/// A response that is no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the response.
    pub status: u16,
    /// Its `error_description`, or its text.
    pub description: Option<String>,
    /// Its `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Unreachable(why) => write!(f, "cannot connect: {why}"),
            Self::BadRedirect(why) => write!(f, "redirected: {why}"),
            Self::NoToken(why) => write!(f, "no token: {why}"),
            Self::Refused(refusal) => {
                write!(f, "answered {}", refusal.status)?;
                if let Some(description) = &refusal.description {
                    write!(f, ": {description}")?;
                }
                refusal.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
            }
        }
    }
}

impl Refusal {
    /// The way out, where the status names one. Source: Adobe, *Live Stream*, status codes.
    fn advice(&self) -> Option<&'static str> {
        match self.status {
            404 => {
                Some("check the name in `url`; a stream that is not read for 90 days is deleted")
            }
            424 => Some(
                "the stream must be enabled first: GET https://livestream.adobe.net/api/2/enable/NAME \
                 with the same token, then `homing source resume`",
            ),
            503 => Some(
                "if that stays, the stream may have been moved: `homing source reset` with \
                 `--to latest` goes on with the newest data, `--to earliest` with the oldest",
            ),
            _ => None,
        }
    }
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect again after this time.
    Wait(Duration),
    /// Connect again at once, with a new token.
    Renew,
    /// The source stops, for this reason.
    Stop(String),
}

/// Consecutive events since the last 200.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// 409.
    pub conflicts: u32,
    /// Responses after which the waits grow.
    pub overloads: u32,
    /// True if the token was renewed because of a 401.
    pub renewed: bool,
}

/// `[source]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// After a loss.
    pub reconnect: Duration,
    /// The maximum of the growing waits while the service is overloaded.
    pub max: Duration,
}

/// This many consecutive 409 are no coincidence.
const CONFLICTS_SUSPICIOUS: u32 = 10;
/// The wait is longer by up to this share, so that not all slots reconnect together ...
const JITTER: f64 = 0.1;
/// ... and by this much at least: the service's clock is not ours, and it counts in steps.
const SLACK: Duration = Duration::from_millis(500);

impl Streak {
    /// The next step after `ended`, and the new streak. `chance` is from 0 to 1.
    #[must_use]
    pub fn after(self, ended: &Disconnect, waits: Waits, chance: f64) -> (Self, Next) {
        let wait = |least: Duration| Next::Wait(lengthened(least, chance));
        let refusal = match ended {
            // It was connected: earlier failures no longer count.
            Disconnect::Lost(_) => return (Self::default(), wait(waits.reconnect)),
            Disconnect::Unreachable(_) => return (self, wait(waits.reconnect)),
            Disconnect::BadRedirect(_) | Disconnect::NoToken(_) => {
                return (self, Next::Stop(ended.to_string()));
            }
            Disconnect::Refused(refusal) => refusal,
        };
        match refusal.status {
            401 if !self.renewed => (Self { renewed: true, ..self }, Next::Renew),
            409 => {
                let conflicts = self.conflicts.saturating_add(1);
                (Self { conflicts, ..self }, wait(waits.reconnect))
            }
            408 | 425 | 429 | 500 | 502..=504 | 506.. | ..300 => {
                let requested = refusal.retry_after.unwrap_or_default();
                let least = waits.overloaded(self.overloads).max(requested.min(waits.max));
                (Self { overloads: self.overloads.saturating_add(1), ..self }, wait(least))
            }
            300..=499 | 501 | 505 => (self, Next::Stop(ended.to_string())),
        }
    }

    /// True if `max_connections` probably differs from what the service allows.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.conflicts >= CONFLICTS_SUSPICIOUS
    }
}

/// A wait that is certainly over for the service, too. `chance` is from 0 to 1.
fn lengthened(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(1.0 + JITTER * chance).saturating_add(SLACK)
}

impl Waits {
    /// The wait after a connection that this process has just ended.
    #[must_use]
    pub fn after_leaving(self, chance: f64) -> Duration {
        lengthened(self.reconnect, chance)
    }

    /// Doubles with every consecutive response of this kind.
    fn overloaded(self, before: u32) -> Duration {
        let factor = 2_u32.saturating_pow(before);
        self.reconnect.saturating_mul(factor).min(self.max).max(self.reconnect)
    }

    /// The wait before the first connect of a process that has just got a slot.
    ///
    /// A holder that released it has recorded when it was last connected. Any other may have been
    /// connected until it noticed that it had lost the slot, which takes `fence` at most; its last
    /// report may be old.
    #[must_use]
    pub fn after_takeover(
        self,
        takeover: Takeover<'_>,
        fence: Duration,
        now: UnixMillis,
    ) -> Duration {
        let whole = self.reconnect.saturating_add(fence);
        let Takeover::After(report) = takeover else {
            return if takeover == Takeover::First { Duration::ZERO } else { whole };
        };
        let left = report.not_before.unwrap_or_default().since(now);
        // Longer than any wait: the clocks disagree.
        let plausible = left <= lengthened(self.max.max(self.reconnect), 1.0);
        match report.phase {
            Phase::Free if plausible => left,
            Phase::Waiting if plausible => left.max(whole),
            Phase::Free | Phase::Waiting | Phase::Connecting | Phase::Connected => whole,
        }
    }
}

/// The knowledge about the last holder of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover<'a> {
    /// It cannot be read.
    Unknown,
    /// There never was one.
    First,
    /// Its last report.
    After(&'a SlotReport),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAITS: Waits =
        Waits { reconnect: Duration::from_secs(60), max: Duration::from_secs(300) };

    fn refused(status: u16) -> Disconnect {
        let description = (status == 409).then(|| "too many".to_owned());
        Disconnect::Refused(Refusal { status, description, retry_after: None })
    }

    /// The steps after these consecutive ends, without jitter.
    fn report(ends: &[Disconnect]) -> Vec<String> {
        let mut streak = Streak::default();
        let next = |ended| {
            let (after, next) = streak.after(ended, WAITS, 0.0);
            streak = after;
            match next {
                Next::Wait(wait) => format!("wait {} s", wait.as_secs()),
                Next::Renew => "new token".to_owned(),
                Next::Stop(reason) => format!("stop: {reason}"),
            }
        };
        ends.iter().map(next).collect()
    }

    #[test]
    fn every_status_has_its_consequence() {
        for status in [400, 403, 404, 405, 406, 424, 505] {
            let stopped = report(&[refused(status)]).remove(0);
            assert!(stopped.starts_with(&format!("stop: answered {status}")), "{stopped}");
        }
        assert!(report(&[refused(424)])[0].contains("/api/2/enable/"));
        assert!(refused(503).to_string().contains("`--to latest`"));
        for status in [429, 500, 502, 503, 504] {
            let waits = report(&vec![refused(status); 5]);
            assert_eq!(
                waits,
                ["wait 60 s", "wait 120 s", "wait 240 s", "wait 300 s", "wait 300 s"]
            );
        }
        assert_eq!(report(&[refused(401), refused(401)]), ["new token", "stop: answered 401"]);
        assert_eq!(report(&[refused(409)]), ["wait 60 s"]);
        assert_eq!(refused(409).to_string(), "answered 409: too many");
        assert_eq!(report(&[Disconnect::Lost("reset".to_owned())]), ["wait 60 s"]);
        assert_eq!(report(&vec![Disconnect::Unreachable("refused".to_owned()); 9])[8], "wait 60 s");
        assert_eq!(
            report(&[Disconnect::NoToken("invalid_client".to_owned())]),
            ["stop: no token: invalid_client"]
        );
    }

    #[test]
    fn a_connection_forgives_what_was_before() {
        let lost = Disconnect::Lost("end".to_owned());
        let ends = [
            refused(503),
            refused(503),
            lost.clone(),
            refused(503),
            refused(401),
            lost,
            refused(401),
        ];
        let steps = report(&ends);
        assert_eq!(steps[1..4], ["wait 120 s", "wait 60 s", "wait 60 s"]);
        assert_eq!([&steps[4], &steps[6]], ["new token", "new token"]);
    }

    #[test]
    fn ten_consecutive_conflicts_are_suspicious() {
        let mut streak = Streak::default();
        for _ in 0..9 {
            streak = streak.after(&refused(409), WAITS, 0.0).0;
        }
        assert!(!streak.is_suspicious());
        assert!(streak.after(&refused(409), WAITS, 0.0).0.is_suspicious());
        assert!(!streak.after(&Disconnect::Lost(String::new()), WAITS, 0.0).0.is_suspicious());
    }

    #[test]
    fn a_longer_retry_after_counts_up_to_the_longest_wait() {
        let next = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            let refusal = Refusal { status: 503, description: None, retry_after };
            Streak::default().after(&Disconnect::Refused(refusal), WAITS, 0.0).1
        };
        let wait = |seconds| Next::Wait(Duration::from_secs(seconds) + SLACK);
        assert_eq!([next(1), next(90), next(86_400)], [wait(60), wait(90), wait(300)]);
    }

    #[test]
    fn a_slot_is_taken_over_no_sooner_than_its_connection_is_forgotten() {
        let (now, fence) = (UnixMillis::new(1_000_000), Duration::from_secs(20));
        let after = |phase, not_before: Option<i64>| {
            let report = SlotReport {
                slot: 1,
                holder: String::new(),
                phase,
                since: UnixMillis::default(),
                not_before: not_before.map(UnixMillis::new),
                detail: None,
                records: 0,
                seen: UnixMillis::default(),
            };
            WAITS.after_takeover(Takeover::After(&report), fence, now).as_secs()
        };
        assert_eq!(WAITS.after_takeover(Takeover::First, fence, now), Duration::ZERO);
        assert_eq!(WAITS.after_takeover(Takeover::Unknown, fence, now).as_secs(), 80);
        assert_eq!(after(Phase::Connected, None), 80);
        assert_eq!(after(Phase::Connecting, Some(0)), 80);
        assert_eq!(after(Phase::Free, Some(1_060_000)), 60);
        assert_eq!(after(Phase::Waiting, Some(1_240_000)), 240);
        assert_eq!(after(Phase::Waiting, Some(1_010_000)), 80, "it may have connected since");
        assert_eq!(after(Phase::Free, Some(999_999)), 0);
        assert_eq!(after(Phase::Free, Some(9_000_000)), 80, "the clocks disagree");
    }

    proptest! {
        #[test]
        fn nothing_but_a_new_token_is_sooner_than_the_wait_and_its_slack(
            statuses in prop::collection::vec(0_u16..700, 1..40),
            chance in 0.0..=1.0_f64,
        ) {
            let mut streak = Streak::default();
            let mut renewed = 0;
            for status in statuses {
                let ended = if status == 200 { Disconnect::Lost(String::new()) } else { refused(status) };
                let (after, next) = streak.after(&ended, WAITS, chance);
                renewed = if status == 200 { 0 } else { renewed + u32::from(next == Next::Renew) };
                prop_assert!(renewed <= 1);
                streak = after;
                if let Next::Wait(wait) = next {
                    prop_assert!(wait >= WAITS.reconnect + SLACK);
                    prop_assert!(wait <= WAITS.max.mul_f64(1.1) + SLACK);
                }
            }
        }
    }
}
