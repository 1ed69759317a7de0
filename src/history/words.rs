//! What endpoints did, in sentences for people.

/// An outcome as it is kept (`refused 503`) as people say it; `cause` says more where there is one.
pub(super) fn outcome(outcome: &str, cause: Option<&str>) -> String {
    let (class, detail) = outcome.split_once(' ').unwrap_or((outcome, ""));
    let told = match (class, detail) {
        ("accepted" | "refused", status) => {
            let told = format!("{status} from the endpoint");
            return cause.map_or(told.clone(), |cause| format!("{told} ({cause})"));
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
    // A deadline has no cause beside itself, but what came before it is one.
    match cause.filter(|_| class == "unreachable" || detail == "body") {
        Some(cause) => format!("{told} ({cause})"),
        None => told.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_domain::outcome::{Obstacle, Outcome, Phase};

    #[test]
    fn every_outcome_is_told_in_words() {
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
        let told: Vec<_> = outcomes.map(|one| outcome(&one.to_string(), Some("why"))).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
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
