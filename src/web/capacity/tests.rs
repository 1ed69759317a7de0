//! Connections give way, and a client's turn ends.

use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn address(number: usize) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    IpAddr::from([10, 0, high, low])
}

fn is_cut(admission: &Admission) -> bool {
    admission.cut.is_cancelled()
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_has_waited_longest_for_its_client_gives_way() {
    let capacity = Capacity::new(MAX_CONNECTIONS);
    let mut held = Vec::new();
    for number in 0..MAX_CONNECTIONS {
        held.push(capacity.admit(address(number)).unwrap());
        advance(Duration::from_millis(1)).await;
    }
    let worked_on = held[0].begin(false);
    let new = capacity.admit(address(9_999)).unwrap();
    assert!(!new.is_reserve && !is_cut(&held[0]) && is_cut(&held[1]) && !is_cut(&held[2]));
    drop(worked_on);
    advance(SECOND).await;
    assert!(!capacity.admit(address(9_998)).unwrap().is_reserve);
    assert!(is_cut(&held[2]) && !is_cut(&held[0]), "it has just been answered");
}

#[tokio::test(start_paused = true)]
async fn an_address_gives_way_to_itself_and_has_no_more_than_its_share() {
    let capacity = Capacity::new(2);
    let [first, second] = [(); 2].map(|()| capacity.admit(address(1)).unwrap());
    let other = capacity.admit(address(2)).unwrap();
    advance(SECOND).await;
    let third = capacity.admit(address(1)).unwrap();
    assert_eq!([is_cut(&first), is_cut(&second), is_cut(&other)], [true, false, false]);
    let _worked_on = [second.begin(false), third.begin(false)];
    assert!(capacity.admit(address(1)).unwrap().is_reserve);
    assert!(!capacity.admit(address(2)).unwrap().is_reserve);
}

#[test]
fn addresses_of_one_ipv6_network_are_one() {
    let of = |text: &str| network(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[tokio::test(start_paused = true)]
async fn while_every_connection_is_worked_on_there_is_a_reserve_and_it_is_bounded() {
    let capacity = Capacity::new(1);
    let admission = capacity.admit(address(1)).unwrap();
    let _worked_on = admission.begin(false);
    let reserve: Vec<_> = (0..MAX_RESERVE).map(|_| capacity.admit(address(1)).unwrap()).collect();
    assert!(reserve.iter().all(|one| one.is_reserve));
    let one_more = capacity.admit(address(1)).unwrap();
    assert_eq!(reserve.iter().filter(|one| is_cut(one)).count(), 1);
    let request = one_more.begin(false);
    assert!(one_more.ends.is_cancelled(), "one request on each");
    drop(request);
}

#[tokio::test(start_paused = true)]
async fn every_wait_for_a_client_has_an_end() {
    let capacity = Capacity::new(MAX_CONNECTIONS);
    let swept = async |admission: &Admission, after: Duration| {
        advance(after.saturating_sub(SECOND)).await;
        capacity.sweep();
        assert!(!is_cut(admission) && !admission.ends.is_cancelled());
        advance(SECOND).await;
        capacity.sweep();
        (is_cut(admission), admission.ends.is_cancelled())
    };
    let silent = capacity.admit(address(1)).unwrap();
    assert_eq!(swept(&silent, HEAD_DEADLINE).await, (true, false), "no head");
    let idle = capacity.admit(address(1)).unwrap();
    drop(idle.begin(false));
    assert_eq!(swept(&idle, IDLE_DEADLINE).await, (false, true), "no second request");
    let sending = capacity.admit(address(1)).unwrap();
    let _body = sending.begin(true);
    assert_eq!(swept(&sending, BODY_DEADLINE).await, (true, false), "half a body");
    let taking = capacity.admit(address(1)).unwrap();
    let answer = taking.begin(false);
    advance(Duration::from_mins(5)).await;
    capacity.sweep();
    assert!(!is_cut(&taking), "it is homing's turn");
    answer.says(0);
    assert_eq!(swept(&taking, ANSWER_DEADLINE).await, (true, false), "nothing is taken");
}

#[tokio::test(start_paused = true)]
async fn answers_are_taken_at_a_least_rate() {
    let capacity = Capacity::new(MAX_CONNECTIONS);
    let admission = capacity.admit(address(1)).unwrap();
    let answer = admission.begin(false);
    answer.says(0);
    for _ in 0..40 {
        answer.says(ANSWER_BYTES_PER_SECOND);
        advance(SECOND).await;
        capacity.sweep();
    }
    assert!(!is_cut(&admission), "as fast as it must be");
    for _ in 0..40 {
        answer.says(1);
        advance(SECOND).await;
        capacity.sweep();
    }
    assert!(is_cut(&admission), "a byte a second is not enough");
}

#[tokio::test(start_paused = true)]
async fn answers_that_no_client_takes_are_bounded_in_memory() {
    let capacity = Capacity::new(MAX_CONNECTIONS);
    let held: Vec<_> = (0..3).map(|number| capacity.admit(address(number)).unwrap()).collect();
    let answers: Vec<_> = held.iter().map(|admission| admission.begin(false)).collect();
    for answer in &answers {
        answer.says(0);
        answer.holds(MAX_UNSENT_BYTES / 2);
        advance(SECOND).await;
    }
    assert_eq!(held.iter().map(is_cut).collect::<Vec<_>>(), [true, false, false]);
    drop(answers);
    assert_eq!(capacity.table.lock().unsent, 0);
}

#[tokio::test(start_paused = true)]
async fn requests_are_bounded_beside_connections() {
    let capacity = Capacity::new(MAX_CONNECTIONS);
    let held: Vec<_> = (0..2).map(|number| capacity.admit(address(number)).unwrap()).collect();
    let unfinished: Vec<_> = (0..MAX_EXCHANGES).map(|_| held[0].begin(true)).collect();
    assert!(!held[1].begin(false).is_beyond && is_cut(&held[0]));
    drop(unfinished);
    let worked_on: Vec<_> = (0..MAX_EXCHANGES).map(|_| held[1].begin(false)).collect();
    let third = capacity.admit(address(3)).unwrap();
    assert!(third.begin(false).is_beyond && !is_cut(&held[1]));
    drop(worked_on);
    assert!(!third.begin(false).is_beyond);
}
