//! Paces and shares.

use super::{
    state::{ATTEMPTS_FOR_ONE, CALM, HUNG, NOT_ADMITTED_WITHIN, UNUSED},
    *,
};

const WINDOW: Duration = Duration::from_millis(200);
const LANE: usize = 512;

fn shares() -> Arc<Shares> {
    Arc::new(Shares::new(LANE, WINDOW))
}

fn slow(shares: &Arc<Shares>) -> Arc<Pace> {
    let pace = Arc::new(Pace::new(Arc::clone(shares)));
    pace.ended(Duration::from_millis(4_800));
    pace
}

fn enter_all(pace: &Arc<Pace>) -> Vec<LanePlace> {
    std::iter::from_fn(|| pace.try_enter(Lane::Primary).ok()).take(LANE).collect()
}

/// Goal: slow URLs leave half of a lane to others, however many they are. Method: virtual time;
/// each of them takes what it gets.
#[tokio::test(start_paused = true)]
async fn slow_urls_hold_at_most_half_of_a_lane_together() {
    for urls in [1, 3, 16, 300] {
        let shares = shares();
        let paces: Vec<_> = (0..urls).map(|_| slow(&shares)).collect();
        let taken: Vec<_> = paces.iter().map(enter_all).collect();
        let held: usize = taken.iter().map(Vec::len).sum();
        assert!((LANE / 4..=LANE / 2).contains(&held), "{urls} hold {held}");
        drop((taken, paces));
        assert_eq!(shares.primary.counts(), (0, 0));
        assert_eq!(shares.retry.counts(), (0, 0));
    }
}

/// Goal: a busy machine makes no quick URL slow, and a slow one stays slow. Method: as much lag as
/// makes a request that is quick take longer than the permit wait.
#[tokio::test(start_paused = true)]
async fn where_this_process_lags_answers_may_take_longer() {
    let is_quick = |shares: &Arc<Shares>, took| {
        let pace = Arc::new(Pace::new(Arc::clone(shares)));
        pace.ended(took);
        let places = enter_all(&pace);
        places.len() == LANE
    };
    let shares = shares();
    let took = WINDOW + Duration::from_millis(100);
    assert!(!is_quick(&shares, took));
    (0..20).for_each(|_| shares.lag.note(Duration::from_millis(20)));
    assert!(is_quick(&shares, took) && !is_quick(&shares, WINDOW * 4));
    (0..20).for_each(|_| shares.lag.note(Duration::ZERO));
    assert!(!is_quick(&shares, took));
    (0..20).for_each(|_| shares.lag.note(Duration::from_mins(1)));
    assert!(!is_quick(&shares, Duration::from_secs(3)), "a hung one is found on any machine");
}

/// Goal: a URL that came first does not keep the share from the others. Method: virtual time;
/// all give their places back, one by one, and take new ones.
#[tokio::test(start_paused = true)]
async fn slow_urls_share_fairly() {
    let shares = shares();
    let paces: Vec<_> = (0..4).map(|_| slow(&shares)).collect();
    let mut taken: Vec<_> = paces.iter().map(enter_all).collect();
    for _ in 0..LANE {
        for (pace, held) in paces.iter().zip(&mut taken) {
            drop(held.pop());
            // More arrive than end.
            held.extend(pace.enter(Lane::Primary).await);
            held.extend(pace.enter(Lane::Primary).await);
        }
    }
    let numbers: Vec<_> = taken.iter().map(Vec::len).collect();
    assert!(numbers.iter().all(|number| *number >= LANE / 2 / 4 / 2), "{numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quick_url_has_the_whole_lane() {
    let pace = Arc::new(Pace::new(shares()));
    pace.ended(Duration::from_millis(20));
    assert_eq!(enter_all(&pace).len(), LANE);
}

/// Goal: the first deliveries to a URL are not throttled if it answers in time, and do not fill
/// the lane if it does not. Method: virtual time.
#[tokio::test(start_paused = true)]
async fn deliveries_to_an_unknown_url_wait_for_its_first_answer() {
    let pace = Arc::new(Pace::new(shares()));
    let held = enter_all(&pace);
    assert_eq!(held.len(), LANE / 2);
    let waiting = pace.enter(Lane::Primary);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    pace.ended(Duration::from_millis(20));
    assert!(waiting.await.is_some());
    assert_eq!(enter_all(&pace).len(), LANE);
}

/// Goal: a URL can always be tried, whatever others hold.
#[tokio::test(start_paused = true)]
async fn an_unknown_url_may_try_one_delivery_though_the_share_is_used_up() {
    let shares = shares();
    let _held = (enter_all(&slow(&shares)), enter_all(&slow(&shares)), enter_all(&slow(&shares)));
    let pace = Arc::new(Pace::new(Arc::clone(&shares)));
    let trial = pace.enter(Lane::Primary).await;
    assert!(trial.is_some());
}

/// Goal: a URL that stops answering is slow before its requests end. Method: virtual time.
#[tokio::test(start_paused = true)]
async fn a_quick_url_that_hangs_is_slow_after_a_second() {
    let pace = Arc::new(Pace::new(shares()));
    pace.ended(Duration::from_millis(20));
    let held = enter_all(&pace);
    assert_eq!(held.len(), LANE);
    tokio::time::sleep(HUNG).await;
    let refused = Instant::now();
    assert!(pace.enter(Lane::Primary).await.is_none());
    assert_eq!(refused.elapsed(), Duration::ZERO);
    drop(held);
    assert!(pace.enter(Lane::Primary).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_url_that_is_quick_again_is_no_longer_slow() {
    let pace = slow(&shares());
    let _held = enter_all(&pace);
    assert!(pace.enter(Lane::Primary).await.is_none());
    for _ in 0..40 {
        pace.ended(Duration::from_millis(10));
    }
    assert!(pace.enter(Lane::Primary).await.is_some());
}

/// Goal: half of a lane is half of each: what slow URLs hold in one takes nothing from the other.
#[tokio::test(start_paused = true)]
async fn each_lane_has_a_half_of_its_own() {
    let shares = shares();
    let paces: Vec<_> = (0..16).map(|_| slow(&shares)).collect();
    let all = |lane| {
        let taken = paces.iter().map(move |pace| {
            std::iter::from_fn(|| pace.try_enter(lane).ok()).take(LANE).collect::<Vec<_>>()
        });
        taken.collect::<Vec<_>>()
    };
    let taken = [all(Lane::Primary), all(Lane::Retry)];
    for of_lane in &taken {
        let held: usize = of_lane.iter().map(Vec::len).sum();
        assert!((LANE / 4..=LANE / 2).contains(&held), "{held}");
    }
    let held = paces[0].enter_in_turn(0).await;
    assert_eq!(shares.held.counts(), (1, 1), "held queues have places of their own");
    drop((taken, held));
    assert_eq!(shares.held.counts(), (0, 0));
}

/// Goal: what comes from held queues is bounded, and shared fairly.
#[tokio::test(start_paused = true)]
async fn held_queues_share_their_places() {
    let shares = shares();
    let paces: Vec<_> = (0..4).map(|_| slow(&shares)).collect();
    let mut taken = Vec::new();
    for _ in 0..LANE {
        let lane = Lane::Held(0);
        taken.extend(paces.iter().filter_map(|pace| pace.try_enter_in_turn(lane)));
    }
    assert_eq!(taken.len(), 2 * LANE);
    let late = slow(&shares);
    let first = late.enter_in_turn(1).await;
    assert!(futures_util::poll!(Box::pin(late.enter_in_turn(1))).is_pending());
    taken.truncate(LANE);
    assert!(futures_util::poll!(Box::pin(late.enter_in_turn(1))).is_ready());
    drop(first);
}

/// Goal: a URL is slow that holds more than a sixteenth of a lane for longer than the permit wait,
/// and one that is quick is not, however much it holds.
#[tokio::test(start_paused = true)]
async fn what_holds_much_of_a_lane_for_long_is_slow() {
    let pace = Arc::new(Pace::new(shares()));
    let hold_places = async || {
        let places = std::iter::from_fn(|| pace.try_enter(Lane::Primary).ok());
        let places: Vec<_> = places.take(LANE / 8).collect();
        tokio::time::sleep(WINDOW).await;
        places
    };
    pace.ended(Duration::from_millis(20));
    let mut held = hold_places().await;
    pace.ended(Duration::from_millis(20));
    held.extend(pace.try_enter(Lane::Primary).ok());
    assert!(!pace.is_slow(), "it is quick");
    drop(held);

    (0..5).for_each(|_| pace.ended(Duration::from_secs(4)));
    let mut held = hold_places().await;
    assert!(!pace.is_slow(), "not at once");
    held.extend(pace.try_enter(Lane::Primary).ok());
    assert!(pace.is_slow());
}

fn slow_and_held(shares: &Arc<Shares>) -> Arc<Pace> {
    let pace = slow(shares);
    (0..3).for_each(|_| pace.not_admitted(Obstacle::Endpoint));
    assert!(pace.is_slow());
    pace
}

/// Goal: a slow URL is slow no more when none of its deliveries has waited for long in its held
/// queue for a while; it may be busy, and then has to be quick.
#[tokio::test(start_paused = true)]
async fn what_takes_what_comes_for_it_is_slow_no_more() {
    let pace = slow_and_held(&shares());
    let places = std::iter::from_fn(|| pace.try_enter_in_turn(Lane::Held(0)));
    let places: Vec<_> = places.take(LANE / 16).collect();
    tokio::time::sleep(CALM).await;
    assert!(pace.is_slow(), "from the lanes, it would be slow again at once");
    let answer_for = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
            pace.ended(Duration::from_millis(10));
        }
    };
    answer_for(CALM * 2).await;
    assert!(!pace.is_slow(), "it is quick");
    drop(places);

    (0..30).for_each(|_| pace.not_admitted(Obstacle::Endpoint));
    assert!(pace.is_slow());
    let late = pace.late(Obstacle::Endpoint);
    answer_for(CALM * 2).await;
    assert!(pace.is_slow(), "one waits");
    tokio::time::sleep(CALM * 10).await;
    assert!(pace.is_slow(), "though nothing ends");
    drop(late);
    answer_for(CALM / 2).await;
    assert!(pace.is_slow(), "one has waited");
    answer_for(CALM).await;
    assert!(!pace.is_slow());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_admitted_again_and_again_is_slow() {
    let pace = Arc::new(Pace::new(shares()));
    for _ in 0..3 {
        pace.not_admitted(Obstacle::Endpoint);
        pace.not_admitted(Obstacle::Endpoint);
        assert!(!pace.is_slow());
        tokio::time::sleep(NOT_ADMITTED_WITHIN).await;
    }
    (0..3).for_each(|_| pace.not_admitted(Obstacle::Endpoint));
    assert!(pace.is_slow());

    let pace = Arc::new(Pace::new(shares()));
    (0..ATTEMPTS_FOR_ONE * 10).for_each(|_| pace.ended(Duration::from_millis(10)));
    (0..10).for_each(|_| pace.not_admitted(Obstacle::Endpoint));
    assert!(!pace.is_slow(), "few of many");
    pace.not_admitted(Obstacle::Endpoint);
    assert!(pace.is_slow());
}

/// Goal: while slow URLs share what is left of a lane, none of them goes back to it, but those that
/// are quick, or unused: they need no slot.
#[tokio::test(start_paused = true)]
async fn what_is_slow_stays_so_while_places_are_scarce() {
    let shares = shares();
    let (pace, unused, quick) =
        (slow_and_held(&shares), slow_and_held(&shares), slow_and_held(&shares));
    let others = (enter_all(&slow(&shares)), enter_all(&slow(&shares)));
    let held = pace.try_enter_in_turn(Lane::Held(0));
    tokio::time::sleep(CALM * 2).await;
    (0..40).for_each(|_| quick.ended(Duration::from_millis(10)));
    assert_eq!([&pace, &unused, &quick].map(|pace| pace.is_slow()), [true, true, false]);
    tokio::time::sleep(UNUSED).await;
    assert_eq!([&pace, &unused].map(|pace| pace.is_slow()), [true, false]);
    drop(others);
    assert!(!pace.is_slow());
    drop(held);
}

/// Goal: a URL takes part in the lane that it uses, and in no other.
#[tokio::test(start_paused = true)]
async fn a_url_is_counted_where_it_has_places() {
    let shares = shares();
    let pace = slow(&shares);
    let places = (pace.try_enter(Lane::Retry).ok(), pace.try_enter(Lane::Retry).ok());
    assert_eq!((shares.primary.counts(), shares.retry.counts()), ((0, 0), (1, 2)));
    let other = pace.try_enter(Lane::Primary).ok();
    assert_eq!((shares.primary.counts(), shares.retry.counts()), ((1, 1), (1, 2)));
    drop(places);
    assert_eq!((shares.primary.counts(), shares.retry.counts()), ((1, 1), (0, 0)));
    drop(other);
    assert_eq!(shares.primary.counts(), (0, 0));
}

/// Goal: the smallest lane has places for slow URLs, and is not full before it is.
#[tokio::test(start_paused = true)]
async fn small_lanes_are_shared_too() {
    let shares = Arc::new(Shares::new(1, WINDOW));
    assert!(!shares.are_scarce());
    let pace = slow(&shares);
    let held = pace.try_enter(Lane::Primary).ok();
    assert!(held.is_some());
    tokio::time::sleep(WINDOW * 2).await;
    assert!(pace.try_enter(Lane::Primary).is_err());
    assert!(!pace.is_slow(), "one place is not much");
}

/// Goal: a rate limit holds what has one, and nothing else that goes to the same URL.
#[tokio::test(start_paused = true)]
async fn what_has_a_rate_limit_concerns_no_others() {
    let pace = Arc::new(Pace::new(shares()));
    let both = || (pace.is_slow(), pace.is_limited());
    let enter = || pace.try_enter(Lane::Primary).ok().map(|place| (place, pace.limited()));
    pace.ended(Duration::from_secs(1));
    let mut waiting: Vec<_> = std::iter::from_fn(enter).take(LANE / 8).collect();
    tokio::time::sleep(WINDOW).await;
    waiting.extend(enter());
    assert_eq!(both(), (false, true), "many wait for it");
    drop(waiting);
    tokio::time::sleep(CALM).await;
    assert_eq!(both(), (false, false));

    (0..3).for_each(|_| pace.not_admitted(Obstacle::OwnLimit));
    let late = pace.late(Obstacle::OwnLimit);
    tokio::time::sleep(CALM * 2).await;
    assert_eq!(both(), (false, true));
    drop(late);
    tokio::time::sleep(CALM).await;
    assert_eq!(both(), (false, false));
}

/// Goal: a quick URL stays one though a few of its answers come late. Method: virtual time; two in
/// a hundred take seconds.
#[tokio::test(start_paused = true)]
async fn a_few_late_answers_make_no_url_slow() {
    let pace = Arc::new(Pace::new(shares()));
    for number in 0..1_000 {
        let is_late = number % 50 == 49;
        pace.ended(Duration::from_millis(if is_late { 4_000 } else { 5 }));
        assert!(pace.state.lock().speed(Instant::now(), WINDOW) != Speed::Slow, "{number}");
    }
}
