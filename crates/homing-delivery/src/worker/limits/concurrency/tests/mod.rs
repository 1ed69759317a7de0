//! Concurrency with simulated endpoints, in virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::*;

mod refusals;

const MAX: usize = 64;
const SEED: u64 = 7;

/// An endpoint: how it answers a request that comes at this time, beside so many others.
type Endpoint = Box<dyn FnMut(Duration, usize) -> (Duration, Answer)>;

fn fixed(takes: Duration) -> Endpoint {
    Box::new(move |_, _| (takes, Answer::Accepted))
}

/// Between half and one and a half of `takes`, whatever else it works on.
fn varying(takes: Duration) -> Endpoint {
    let mut random = fastrand::Rng::with_seed(SEED);
    Box::new(move |_, _| (takes.mul_f64(0.5 + random.f64()), Answer::Accepted))
}

/// Works on `servers` requests at a time; the others wait.
fn queue(servers: usize, takes: Duration) -> Endpoint {
    let mut free = BinaryHeap::from(vec![Reverse(Duration::ZERO); servers]);
    Box::new(move |now, _| {
        let Reverse(begins) = free.pop().unwrap();
        let ends = begins.max(now) + takes;
        free.push(Reverse(ends));
        (ends.saturating_sub(now), Answer::Accepted)
    })
}

/// Exponentially distributed answers of `takes` on average, whatever else it works on.
fn exponential(takes: Duration) -> Endpoint {
    let mut random = fastrand::Rng::with_seed(SEED);
    Box::new(move |_, _| (takes.mul_f64(-(1.0 - random.f64()).ln()), Answer::Accepted))
}

/// Answers 429 to one in `parts`, whatever else it works on.
fn refusing_by_chance(parts: u32, takes: Duration) -> Endpoint {
    let mut random = fastrand::Rng::with_seed(SEED);
    Box::new(move |_, _| match random.u32(..parts) {
        0 => (Duration::from_millis(5), Answer::Overloaded),
        _ => (takes, Answer::Accepted),
    })
}

/// Answers 429 where it works on `most` already.
fn refusing(most: usize, takes: Duration) -> Endpoint {
    Box::new(move |_, others| match others {
        _ if others < most => (takes, Answer::Accepted),
        _ => (Duration::from_millis(5), Answer::Overloaded),
    })
}

/// Answers 429 to more than `rate` per second, beyond a few at a time.
fn refusing_above_rate(rate: u32, takes: Duration) -> Endpoint {
    let (mut left, mut filled) = (20.0_f64, Duration::ZERO);
    Box::new(move |now, _| {
        left = (left + now.saturating_sub(filled).as_secs_f64() * f64::from(rate)).min(20.0);
        filled = now;
        if left < 1.0 {
            return (Duration::from_millis(5), Answer::Overloaded);
        }
        left -= 1.0;
        (takes, Answer::Accepted)
    })
}

/// Counts of the last half of a run.
#[derive(Debug, Default)]
struct Seen {
    accepted: usize,
    refused: usize,
    /// Summed over the answers.
    limits: usize,
}

impl Seen {
    fn mean_limit(&self) -> usize {
        self.limits / (self.accepted + self.refused).max(1)
    }
}

/// Sends as much as the limit allows for `lasts`, and looks at the last half.
fn run(concurrency: Concurrency, endpoint: Endpoint, lasts: Duration) -> Seen {
    let mut seen = Seen::default();
    let ended = |now, answer, limit| {
        if now >= lasts / 2 {
            seen.accepted += usize::from(answer == Answer::Accepted);
            seen.refused += usize::from(answer != Answer::Accepted);
            seen.limits += limit;
        }
    };
    simulate(concurrency, endpoint, lasts, ended);
    seen
}

/// Sends as much as the limit allows for `lasts`, and passes on the time of each answer, and the
/// limit after it.
fn simulate(
    mut concurrency: Concurrency,
    mut endpoint: Endpoint,
    lasts: Duration,
    mut ended: impl FnMut(Duration, Answer, usize),
) {
    let start = concurrency.round.since;
    let (mut now, mut busy) = (Duration::ZERO, 0);
    let mut under_way = BTreeMap::new();
    for number in 0.. {
        while under_way.len() < concurrency.limit() {
            let (takes, answer) = endpoint(now, busy);
            busy += usize::from(answer == Answer::Accepted);
            under_way.insert((now + takes, number, under_way.len()), (takes, answer));
        }
        let is_full = under_way.len() >= concurrency.limit();
        let ((ends, ..), (took, answer)) = under_way.pop_first().unwrap();
        now = ends;
        if now >= lasts {
            return;
        }
        busy -= usize::from(answer == Answer::Accepted);
        concurrency.ended(answer, took, is_full, start + now);
        assert!((1..=MAX).contains(&concurrency.limit()));
        ended(now, answer, concurrency.limit());
    }
}

fn both() -> [Concurrency; 2] {
    let now = Instant::now();
    [Concurrency::ramp(MAX, now), Concurrency::descent(MAX, now)]
}

/// Goal: an endpoint that takes its time for each request, and for any number of them, gets all
/// permits; also one whose answers vary.
#[test]
fn what_takes_its_time_without_contention_is_not_slowed_down() {
    for takes in [Duration::from_millis(60), Duration::from_millis(4_800)] {
        for concurrency in both() {
            let seen = run(concurrency, fixed(takes), takes * 60);
            let possible = MAX * 30;
            assert!(seen.accepted * 100 >= possible * 95, "{takes:?}: {seen:?} of {possible}");
        }
        for concurrency in both() {
            let seen = run(concurrency, varying(takes), takes * 400);
            assert!(seen.mean_limit() >= MAX * 3 / 4, "{takes:?}: {seen:?}");
        }
        for concurrency in both() {
            let seen = run(concurrency, exponential(takes), takes * 3_000);
            assert!(seen.mean_limit() >= MAX * 19 / 20, "{takes:?}: {seen:?}");
        }
    }
}

/// Goal: refusals that have nothing to do with the number of requests keep few permits away.
#[test]
fn refusals_by_chance_are_tolerated() {
    let takes = Duration::from_millis(60);
    for (parts, at_least) in [(1_000, MAX * 9 / 10), (200, MAX * 9 / 10), (100, MAX / 2)] {
        for concurrency in both() {
            let seen = run(concurrency, refusing_by_chance(parts, takes), takes * 2_000);
            assert!(seen.mean_limit() >= at_least, "1 in {parts}: {seen:?}");
        }
    }
}

/// Goal: an endpoint that answers within milliseconds, though not always the same, gets all permits.
#[test]
fn what_is_quick_gets_all_permits() {
    for concurrency in both() {
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut number = 0;
        let endpoint = Box::new(move |_, _| {
            number += 1;
            // The machine does something else now and then.
            let slice = if number / 100 % 2 == 0 { 1 } else { 3 };
            (Duration::from_micros(random.u64(500..8_000)) * slice, Answer::Accepted)
        });
        let seen = run(concurrency, endpoint, Duration::from_secs(5));
        assert!(seen.mean_limit() >= MAX * 9 / 10, "{seen:?}");
    }
}

/// Goal: an endpoint that works on few at a time gets few more than that, and is never idle.
#[test]
fn what_waits_at_the_endpoint_is_bounded() {
    let takes = Duration::from_millis(60);
    for servers in [1, 4, 16] {
        for concurrency in both() {
            let lasts = Duration::from_secs(120);
            let seen = run(concurrency, queue(servers, takes), lasts);
            let possible = servers * 1_000;
            assert!(seen.accepted * 100 >= possible * 90, "{servers}: {seen:?} of {possible}");
            assert!(seen.mean_limit() <= servers * 2, "{servers}: {seen:?}");
        }
    }
}

/// Goal: an endpoint that refuses more than it takes at a time gets about that many, and refuses
/// few.
#[test]
fn what_answers_429_above_a_concurrency_gets_about_that() {
    for concurrency in both() {
        let seen =
            run(concurrency, refusing(10, Duration::from_millis(60)), Duration::from_secs(120));
        assert!((8..=11).contains(&seen.mean_limit()), "{seen:?}");
        assert!(seen.refused * 50 <= seen.accepted, "{seen:?}");
    }
}

#[test]
fn what_answers_429_above_a_rate_refuses_few() {
    for concurrency in both() {
        let endpoint = refusing_above_rate(100, Duration::from_millis(60));
        let seen = run(concurrency, endpoint, Duration::from_secs(120));
        assert!(seen.accepted >= 60 * 70, "{seen:?}");
        assert!(seen.refused * 10 <= seen.accepted, "{seen:?}");
    }
}

/// Goal: an endpoint that takes longer for good is measured anew, and gets its permits back.
/// Method: a few refusals come first, so that it has few permits when that begins.
#[test]
fn what_takes_longer_for_good_gets_its_permits_back() {
    for later in [105, 240] {
        let endpoint = Box::new(move |now: Duration, others| match others {
            10.. if now < Duration::from_secs(20) => (Duration::from_millis(5), Answer::Overloaded),
            _ if now < Duration::from_secs(20) => (Duration::from_millis(60), Answer::Accepted),
            _ => (Duration::from_millis(later), Answer::Accepted),
        });
        let concurrency = Concurrency::ramp(MAX, Instant::now());
        let seen = run(concurrency, endpoint, Duration::from_secs(120));
        assert!(seen.mean_limit() >= MAX * 9 / 10, "{later}: {seen:?}");
    }
}

/// Goal: an endpoint whose queue is so long that it does not answer in time is measured once the
/// queue is shorter. Method: the descent meets time-outs.
#[test]
fn what_does_not_answer_in_time_does_not_keep_its_queue() {
    let deadline = Duration::from_secs(5);
    let mut endpoint = queue(4, Duration::from_millis(400));
    let in_time: Endpoint = Box::new(move |now, others| match endpoint(now, others) {
        (takes, _) if takes > deadline => (deadline, Answer::Late),
        answered => answered,
    });
    let concurrency = Concurrency::descent(MAX, Instant::now());
    let seen = run(concurrency, in_time, Duration::from_secs(400));
    assert!(seen.mean_limit() <= 8, "{seen:?}");
    assert_eq!(seen.refused, 0, "{seen:?}");
}

#[test]
fn refusals_of_requests_that_were_under_way_together_count_once() {
    let start = Instant::now();
    let mut concurrency = Concurrency::descent(MAX, start);
    let mut refuse = |times, at| {
        for _ in 0..times {
            let at = start + Duration::from_millis(at);
            concurrency.ended(Answer::Overloaded, Duration::from_millis(50), true, at);
        }
        concurrency.limit()
    };
    assert_eq!(refuse(MAX, 60), MAX / 2);
    assert_eq!(refuse(3, 120), MAX / 2, "a few are tolerated");
    assert_eq!(refuse(1, 120), MAX / 4);
}

/// Goal: an endpoint that does not answer some requests, and fails others, keeps its permits: fewer
/// at a time would change nothing. Method: three of seven are late, the rest fails at once.
#[tokio::test(start_paused = true)]
async fn what_fails_for_other_reasons_keeps_its_permits() {
    let start = Instant::now();
    let mut concurrency = Concurrency::descent(64, start);
    for number in 0..7_000_u32 {
        let at = start + Duration::from_secs(3) + Duration::from_millis(number.into());
        let (answer, took) = match number % 7 {
            0 | 2 | 4 => (Answer::Late, Duration::from_secs(2)),
            _ => (Answer::Failed, Duration::from_millis(1)),
        };
        concurrency.ended(answer, took, true, at);
    }
    assert_eq!(concurrency.limit(), 64);
}
