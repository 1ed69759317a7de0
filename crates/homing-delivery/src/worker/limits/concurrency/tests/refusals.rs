//! Endpoints that refuse a share of what they get, whatever that is, beside those that refuse what is
//! too much.

use super::*;

const TAKES: Duration = Duration::from_millis(60);
const MINUTE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(20);
const MINUTES: u32 = 5;
const PERMITS: f64 = 64.0;
const SEEDS: std::ops::Range<u64> = 0..3;

/// Answers `refused` to this share, and the others as `then`.
fn chance(seed: u64, share: f64, refused: (Duration, Answer), mut then: Endpoint) -> Endpoint {
    let mut random = fastrand::Rng::with_seed(seed);
    Box::new(move |now, others| if random.f64() < share { refused } else { then(now, others) })
}

/// 503 to this share, soon.
fn unavailable(seed: u64, share: f64, then: Endpoint) -> Endpoint {
    chance(seed, share, (SOON, Answer::Overloaded), then)
}

/// Accepted and not accepted in each minute.
fn minutes(concurrency: Concurrency, endpoint: Endpoint) -> Vec<(u32, u32)> {
    let mut minutes = Vec::new();
    simulate(concurrency, endpoint, MINUTE * MINUTES, |now, answer, _| {
        minutes.resize(usize::try_from(now.as_secs() / 60 + 1).unwrap(), (0, 0));
        let (accepted, refused) = minutes.last_mut().unwrap();
        *(if answer == Answer::Accepted { accepted } else { refused }) += 1;
    });
    minutes
}

/// Runs it with each seed and beginning, and asserts that it accepts so many per second on the
/// average, and refuses so many in a minute at most: in the first one, and in each later one.
fn assert_takes(endpoint: impl Fn(u64) -> Endpoint, at_least: f64, [first, later]: [f64; 2]) {
    for seed in SEEDS {
        for concurrency in both() {
            let minutes = minutes(concurrency, endpoint(seed));
            let accepted: u32 = minutes.iter().map(|(accepted, _)| accepted).sum();
            let per_second = f64::from(accepted) / f64::from(60 * MINUTES);
            assert!(per_second >= at_least, "{seed}: {per_second:.1} of {at_least}: {minutes:?}");
            for (number, (_, refused)) in minutes.iter().enumerate() {
                let at_most = if number == 0 { first } else { later };
                assert!(f64::from(*refused) <= at_most, "{seed}: {at_most} at most: {minutes:?}");
            }
        }
    }
}

/// Requests per second that an endpoint gets with all permits that refuses `share` soon.
fn attempts(share: f64) -> f64 {
    PERMITS / (share * SOON.as_secs_f64() + (1.0 - share) * TAKES.as_secs_f64())
}

/// Requests per second of an endpoint that takes `most` at a time.
fn takes(most: usize) -> f64 {
    f64::from(u32::try_from(most).unwrap()) / TAKES.as_secs_f64()
}

/// Goal: an endpoint that refuses a share of all requests, however many there are, gets as many as if
/// it did not. Method: what it accepts of what it would with all permits, and no more refusals.
#[test]
fn refusals_of_a_share_keep_few_permits() {
    for share in [0.2, 0.5, 0.9] {
        let attempts = attempts(share);
        let refused = attempts * share * 60.0 * 1.1;
        let endpoint = |seed| unavailable(seed, share, fixed(TAKES));
        assert_takes(endpoint, attempts * (1.0 - share) * 0.85, [refused; 2]);
    }
}

/// Goal: one that also takes some at a time only is found all the same; refusals are the share
/// several times over.
#[test]
fn what_takes_so_many_at_a_time_is_found_though_it_refuses_a_share() {
    for (share, most) in [(0.2, 4), (0.2, 10), (0.5, 4), (0.5, 10)] {
        let possible = takes(most);
        let usual = share / (1.0 - share) * possible * 60.0;
        let endpoint = |seed| unavailable(seed, share, refusing(most, TAKES));
        assert_takes(endpoint, possible * 0.7, [usual * 8.0; 2]);
    }
}

/// Goal: one that takes some at a time, or so many a second, and refuses no others, refuses few.
#[test]
fn what_refuses_only_what_is_too_much_refuses_few() {
    for most in [1, 2, 4, 10, 30] {
        assert_takes(|_| refusing(most, TAKES), takes(most) * 0.9, [400.0, 70.0]);
    }
    for rate in [20, 100, 500] {
        assert_takes(|_| refusing_above_rate(rate, TAKES), f64::from(rate) * 0.7, [400.0, 200.0]);
    }
}

/// Goal: one that does not answer a share of all requests in time keeps most permits.
#[test]
fn what_does_not_answer_a_share_keeps_its_permits() {
    let late = (TAKES * 10, Answer::Late);
    for share in [0.2, 0.6] {
        let took = share * late.0.as_secs_f64() + (1.0 - share) * TAKES.as_secs_f64();
        let attempts = PERMITS / took;
        let refused = attempts * share * 60.0 * 1.1;
        let endpoint = |seed| chance(seed, share, late, fixed(TAKES));
        assert_takes(endpoint, attempts * (1.0 - share) * 0.4, [refused; 2]);
    }
}

/// Goal: what is found is found anew: an endpoint that refuses no share any more, and takes few at a
/// time, refuses few again.
#[test]
fn what_was_tolerated_is_not_for_ever() {
    let mut share = unavailable(SEED, 0.5, fixed(TAKES));
    let mut few = refusing(10, TAKES);
    let endpoint: Endpoint =
        Box::new(
            move |now, others| {
                if now < MINUTE { share(now, others) } else { few(now, others) }
            },
        );
    let minutes = minutes(Concurrency::ramp(MAX, Instant::now()), endpoint);
    assert!(minutes.iter().skip(2).all(|(_, refused)| *refused <= 70), "{minutes:?}");
}

/// Goal: an endpoint that refuses some and fails the others, whatever it gets, keeps its permits, too.
#[test]
fn what_accepts_nothing_keeps_its_permits_if_it_refuses_a_share() {
    for concurrency in both() {
        let failed: Endpoint = Box::new(|_, _| (TAKES, Answer::Failed));
        let (mut limits, mut answers) = (0, 0);
        simulate(concurrency, unavailable(SEED, 0.4, failed), MINUTE, |now, _, limit| {
            if now >= MINUTE / 2 {
                (limits, answers) = (limits + limit, answers + 1);
            }
        });
        assert!(limits / answers >= MAX * 3 / 4, "{limits} / {answers}");
    }
}
