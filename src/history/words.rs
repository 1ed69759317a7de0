//! Outcomes in words.

/// A stored outcome (`refused 503`) in words, with its `cause` if there is one.
pub(super) fn outcome(outcome: &str, cause: Option<&str>) -> String {
    let (class, detail) = outcome.split_once(' ').unwrap_or((outcome, ""));
    let text = match (class, detail) {
        ("accepted" | "refused", status) => {
            let text = format!("{status} from the endpoint");
            return cause.map_or(text.clone(), |cause| format!("{text} ({cause})"));
        }
        ("timed_out", "connect") => "timed out while connecting",
        ("timed_out", "headers") => "timed out while waiting for an answer",
        ("timed_out", "body") => "timed out while reading the answer",
        ("unreachable", "dns") => "the host name has no address",
        ("unreachable", "address_not_allowed") => "the address may not be called",
        ("unreachable", "connection_refused") => "nothing listens at that address",
        ("unreachable", "connection_lost") => "the connection broke before the answer was complete",
        ("unreachable", "no_route") => "there is no network path to it",
        ("unreachable", "tls") => "the TLS handshake failed",
        ("unreachable", "not_http") => "the answer was not HTTP",
        (_, _) => outcome,
    };
    // A timeout needs no cause, unless the answer had already begun.
    match cause.filter(|_| class == "unreachable" || detail == "body") {
        Some(cause) => format!("{text} ({cause})"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::outcome::{Obstacle, Outcome, Phase};

    #[test]
    fn every_outcome_has_words() {
        let phases = [Phase::Connect, Phase::Headers, Phase::Body];
        let obstacles = [
            Obstacle::Dns,
            Obstacle::AddressNotAllowed,
            Obstacle::ConnectionRefused,
            Obstacle::ConnectionLost,
            Obstacle::NoRoute,
            Obstacle::Tls,
            Obstacle::NotHttp,
        ];
        let outcomes = [Outcome::Refused { status: 503, retry_after: None }]
            .into_iter()
            .chain(phases.map(|phase| Outcome::TimedOut { phase }))
            .chain(obstacles.map(|kind| Outcome::Unreachable { kind }));
        let texts: Vec<_> = outcomes.map(|one| outcome(&one.to_string(), Some("why"))).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        503 from the endpoint (why)
        timed out while connecting
        timed out while waiting for an answer
        timed out while reading the answer (why)
        the host name has no address (why)
        the address may not be called (why)
        nothing listens at that address (why)
        the connection broke before the answer was complete (why)
        there is no network path to it (why)
        the TLS handshake failed (why)
        the answer was not HTTP (why)
        ");
    }
}
