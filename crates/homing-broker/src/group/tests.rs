//! Answers of a group whose confirms the test completes.

use lapin::message::Delivery;

use super::*;

type Confirming = oneshot::Sender<lapin::Result<Confirmation>>;
type Answer = oneshot::Receiver<Result<(), BrokerError>>;

fn publish(id: &str, routing_key: &str) -> Publish {
    Publish {
        queue: routing_key.to_owned(),
        address: Address { exchange: "e".to_owned(), routing_key: routing_key.to_owned() },
        properties: Arc::new(BasicProperties::default().with_message_id(id.into())),
        body: Bytes::new(),
        mandatory: true,
    }
}

fn returned(id: &str, routing_key: &str) -> BasicReturnMessage {
    let mut delivery = Delivery::mock(0, "e".into(), routing_key.into(), false, Vec::new());
    delivery.properties = BasicProperties::default().with_message_id(id.into());
    BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
}

/// A group whose confirms the test completes.
fn group<const N: usize>(
    messages: [(&str, &str); N],
) -> (Group<'static>, Vec<Confirming>, Vec<Answer>) {
    let mut group = Group { sent: Vec::new(), returned: Vec::new(), is_whole: true };
    let (mut confirmings, mut answers) = (Vec::new(), Vec::new());
    for (id, routing_key) in messages {
        let (confirming, confirm) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let confirm = Confirm::Pending(Box::pin(async move { confirm.await.unwrap() }));
        group.sent.push(Sent { job: Job { publish: publish(id, routing_key), reply }, confirm });
        confirmings.push(confirming);
        answers.push(answer);
    }
    (group, confirmings, answers)
}

fn complete(confirming: Confirming, returned: Option<BasicReturnMessage>) {
    confirming.send(Ok(Confirmation::Ack(returned))).unwrap();
}

fn is_unroutable(answer: &mut Answer) -> bool {
    matches!(answer.try_recv(), Ok(Err(BrokerError::Unroutable { .. })))
}

fn is_confirmed(answer: &mut Answer) -> bool {
    matches!(answer.try_recv(), Ok(Ok(())))
}

/// Goal: a message that no queue took fails, and no other does, whichever confirm the client
/// credits it to.
#[tokio::test]
async fn a_returned_message_is_credited_to_itself() {
    let messages = [("a", "net"), ("b", "q"), ("c", "net")];
    for carrier in 0..3 {
        let (mut group, confirmings, mut answers) = group(messages);
        for (index, confirming) in confirmings.into_iter().enumerate() {
            complete(confirming, (index == carrier).then(|| returned("a", "net")));
        }
        group.answer().await;
        let [a, b, c] = answers.as_mut_slice() else { panic!() };
        assert!(is_unroutable(a) && is_confirmed(b) && is_confirmed(c), "carried by {carrier}");
        let committed = group.end(Unanswered::Lost);
        assert!(committed.left.is_none() && !committed.is_whole);
    }
}

#[tokio::test]
async fn where_a_returned_message_is_of_no_group_nothing_counts_as_stored() {
    let (mut group, confirmings, mut answers) = group([("a", "q"), ("b", "q")]);
    for confirming in confirmings {
        complete(confirming, Some(returned("z", "q")));
    }
    group.answer().await;
    assert!(answers.iter_mut().all(is_unroutable));
}

/// Goal: what is certain is answered while a confirm is missing, and nothing else.
#[tokio::test]
async fn a_missing_confirm_holds_up_only_what_depends_on_it() {
    let (mut group, confirmings, mut answers) = group([("a", "q"), ("b", "q"), ("c", "q")]);
    let mut confirmings = confirmings.into_iter();
    complete(confirmings.next().unwrap(), None);
    // Not known before the look that would have found what another confirm carries.
    group.answer().await;
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    group.answer().await;
    assert!(is_confirmed(&mut answers[0]));

    // A confirm that carries another's message proves nothing about its own.
    complete(confirmings.next().unwrap(), Some(returned("c", "q")));
    group.answer().await;
    group.answer().await;
    assert!(answers[1].try_recv().is_err() && answers[2].try_recv().is_err());
    complete(confirmings.next().unwrap(), None);
    group.answer().await;
    assert!(is_confirmed(&mut answers[1]) && is_unroutable(&mut answers[2]));
}

/// Goal: a late confirm concerns its own message. Method: one of three never comes; in virtual time.
#[tokio::test(start_paused = true)]
async fn a_late_confirm_holds_up_no_others() {
    let (mut group, confirmings, mut answers) = group([("a", "q"), ("b", "q"), ("c", "q")]);
    let mut confirmings = confirmings.into_iter();
    complete(confirmings.next().unwrap(), None);
    confirmings.next().unwrap().send(Ok(Confirmation::Nack(None))).unwrap();
    let began = tokio::time::Instant::now();
    let deadline = Duration::from_secs(10);
    let confirming = group.confirmed(std::future::pending(), (deadline, || false));
    let answering = async {
        let [a, b, _] = answers.as_mut_slice() else { panic!() };
        assert!(a.await.unwrap().is_ok());
        assert!(matches!(b.await.unwrap(), Err(BrokerError::Nacked { .. })));
        began.elapsed()
    };
    let (why, answered) = tokio::join!(confirming, answering);
    assert!(answered <= 2 * TICK, "{answered:?}");
    assert!(matches!(why, Unanswered::TimedOut(_)) && began.elapsed() >= deadline);
    let (left, _) = group.end(why).left.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].publish.id(), Some("c"));
}

#[tokio::test]
async fn a_nack_is_about_its_own_message() {
    let (mut group, confirmings, mut answers) = group([("a", "q"), ("b", "q")]);
    let mut confirmings = confirmings.into_iter();
    confirmings.next().unwrap().send(Ok(Confirmation::Nack(None))).unwrap();
    group.answer().await;
    assert!(matches!(answers[0].try_recv(), Ok(Err(BrokerError::Nacked { .. }))));
    complete(confirmings.next().unwrap(), None);
    group.answer().await;
    assert!(is_confirmed(&mut answers[1]));
    assert!(!group.end(Unanswered::Lost).is_whole);
}

/// Goal: the reason is what the broker said, not that the channel has ended.
#[tokio::test]
async fn what_is_left_has_the_most_telling_reason() {
    use lapin::{
        ChannelState, ErrorKind,
        protocol::{AMQPError, AMQPSoftError},
    };
    let (mut group, confirmings, _answers) = group([("a", "q"), ("b", "q"), ("c", "q")]);
    let closed = ErrorKind::InvalidChannelState(ChannelState::Closed, "basic.publish").into();
    let replied = AMQPError::new(AMQPSoftError::NOTFOUND.into(), "no exchange".into());
    let replied = ErrorKind::ProtocolError(replied).into();
    let mut confirmings = confirmings.into_iter();
    confirmings.next().unwrap().send(Err(replied)).unwrap();
    confirmings.next().unwrap().send(Err(closed)).unwrap();
    group.answer().await;
    let (left, why) = group.end(Unanswered::Lost).left.unwrap();
    assert_eq!(left.len(), 3);
    assert!(why.error(&left[2].publish).has_code(&AMQPSoftError::NOTFOUND), "{why:?}");
}

/// Goal: what came to a channel that had ended for another message is sent again, not failed, also
/// where the broker's words come too late.
#[tokio::test]
async fn an_end_without_a_reason_is_of_none() {
    use lapin::{ChannelState, ErrorKind};
    let (mut group, confirmings, _answers) = group([("a", "q"), ("b", "q")]);
    let ended = ErrorKind::InvalidChannelState(ChannelState::Error, "basic.publish").into();
    let mut confirmings = confirmings.into_iter();
    let _pending = confirmings.next().unwrap();
    confirmings.next().unwrap().send(Err(ended)).unwrap();
    group.answer().await;
    let (left, why) = group.end(Unanswered::Lost).left.unwrap();
    assert_eq!(left.len(), 2);
    assert!(why.is_of_none(), "{why:?}");
    assert!(!Unanswered::Lost.is_of_none());
}
