//! The trace of an event, received from publishers and sent to endpoints.
//!
//! Source: W3C Recommendation *Trace Context*, `traceparent` and `tracestate`.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::id::EventId;

/// The longest `tracestate` that is passed on.
const MAX_STATE_BYTES: usize = 512;

/// A place in a trace: `traceparent` and `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Never zero.
    pub trace: u128,
    /// The parent span of what follows; never zero.
    pub parent: u64,
    /// True if the trace is recorded.
    pub sampled: bool,
    /// Passed on unchanged.
    state: Option<String>,
}

/// The text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct TraceContextError;

impl TraceContext {
    /// The trace of an event that has none: the same for all its deliveries and attempts. Of a
    /// hundred such traces, `sample_percent` are recorded.
    #[must_use]
    pub fn of_event(event: &EventId, span: u64, sample_percent: u8) -> Self {
        let trace = Uuid::new_v5(&Uuid::NAMESPACE_URL, event.as_str().as_bytes()).as_u128();
        let sampled = trace % 100 < u128::from(sample_percent);
        Self { trace, parent: span, sampled, state: None }
    }

    /// The same trace, one span further down.
    #[must_use]
    pub fn under(&self, span: u64) -> Self {
        Self { parent: span, ..self.clone() }
    }

    /// The same with a `tracestate`, if that can be passed on.
    #[must_use]
    pub fn with_state(self, state: Option<String>) -> Self {
        let fits = |text: &String| {
            let visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            visible && !text.trim().is_empty() && text.len() <= MAX_STATE_BYTES
        };
        Self { state: state.filter(fits), ..self }
    }

    /// `tracestate`
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// `traceparent`
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, parent, sampled, .. } = self;
        write!(f, "00-{trace:032x}-{parent:016x}-{:02x}", u8::from(*sampled))
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Reads the known part of a future version, as the recommendation requires.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().split('-');
        let mut hex = |length: usize| {
            let part = parts.next().ok_or(TraceContextError)?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if part.len() != length || !part.bytes().all(is_hex) {
                return Err(TraceContextError);
            }
            u128::from_str_radix(part, 16).map_err(|_| TraceContextError)
        };
        let (version, trace, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let parent = u64::try_from(parent).map_err(|_| TraceContextError)?;
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace == 0 || parent == 0 {
            return Err(TraceContextError);
        }
        Ok(Self { trace, parent, sampled: flags & 1 == 1, state: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_written_as_it_was_read() {
        let context: TraceContext = PARENT.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), PARENT);
        let under = context.under(0xab).to_string();
        assert_eq!(under, "00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-01");
    }

    #[test]
    fn an_invalid_traceparent_is_refused() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "00",
            &PARENT.to_uppercase(),
            &PARENT.replace("00-4", "ff-4"),
            &format!("{PARENT}-more"),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert!(text.parse::<TraceContext>().is_err(), "{text}");
        }
        assert!(format!("{}-more", PARENT.replace("00-4", "01-4")).parse::<TraceContext>().is_ok());
    }

    #[test]
    fn an_event_without_a_trace_always_gets_the_same() {
        let event = EventId::new("e1").unwrap();
        let (one, other) =
            (TraceContext::of_event(&event, 1, 100), TraceContext::of_event(&event, 2, 0));
        assert_eq!(one.trace, other.trace);
        assert!(one.sampled && !other.sampled);
    }

    #[test]
    fn a_state_that_no_header_can_carry_is_left_out() {
        let state = |text: &str| {
            let context: TraceContext = PARENT.parse().unwrap();
            context.with_state(Some(text.to_owned())).state().map(str::to_owned)
        };
        assert_eq!(state("vendor=1").as_deref(), Some("vendor=1"));
        for text in ["", "a\r\nb", "ü", &"x".repeat(513)] {
            assert_eq!(state(text), None);
        }
    }
}
