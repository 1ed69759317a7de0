//! Replays that do not come to their end are on record, too.

use homing_delivery::parking::{Action, Selection};
use homing_domain::audit::{Actor, AuditRecord, ChangeResult, ObjectKind, Via};
use homing_store::{AuditFilter, AuditPage};

use crate::support::{broker::Raw, eventually, holds, installation::Installation};

const PARKED: u32 = 100;

/// The newest record about what is parked.
async fn newest(installation: &Installation) -> Result<AuditRecord, String> {
    let filter = AuditFilter { kind: Some(ObjectKind::Parked), ..AuditFilter::default() };
    let page = AuditPage { filter, after: None, limit: 1 };
    let listing = installation.parts.store.audit(&page).await.map_err(|error| error.report())?;
    listing.records.into_iter().next().ok_or_else(|| "there is no record".to_owned())
}

/// Goal: a replay that is under way is on record, and one that is given up ends with how many it
/// sent. Method: one at a pace, dropped as that of a client that disconnects is.
#[tokio::test]
async fn a_replay_that_is_given_up_ends_on_record_with_how_many_it_sent() {
    let installation = Installation::new(&[1_000]).await;
    for number in 0..PARKED {
        let raw = Raw::new("t", &format!("e{number}"), "{}").kind("t");
        let raw = raw.header("x-homing-parked-reason", "gone");
        let raw = Raw { topic: installation.names().parked(), ..raw };
        installation.publisher.publish_to(&installation.names().route(), raw).await;
    }
    installation.wait_for_parked(PARKED).await;
    let actor = Actor { via: Via::Cli, name: "anna@here".to_owned(), ..Actor::default() };
    let services = installation.parts.by(&actor);
    let (parking, all) = (services.parking.paced(20), Selection::default());
    let is_under_way = async || {
        let begun = newest(&installation).await?.change.result == ChangeResult::Begun;
        let totals = services.store.parked_totals().await.map_err(|error| error.report())?;
        let is_begun = begun && totals.deliveries < u64::from(PARKED - 3);
        holds(is_begun, format!("begun: {begun}; {totals:?}"))
    };
    tokio::select! {
        acted = parking.act(Action::Replay, &all, None, |_| ()) => panic!("{acted:?}, at a pace"),
        () = eventually(is_under_way) => {}
    }

    let record = eventually(async || {
        let record = newest(&installation).await?;
        holds(record.change.result != ChangeResult::Begun, "it is begun".to_owned())?;
        Ok::<_, String>(record)
    });
    let record = record.await;
    assert_eq!(
        (&record.actor.name, &record.change.object),
        (&actor.name, &"everything".to_owned())
    );
    assert_eq!(record.change.result, ChangeResult::Stopped);
    let sent = record.change.difference.get("matched").and_then(serde_json::Value::as_u64);
    let sent = u32::try_from(sent.expect("how many")).expect("few");
    assert!((4..PARKED).contains(&sent), "{sent}");
    installation.wait_for_parked(PARKED - sent).await;
    installation.wait_for_depth(&installation.names().retry(), sent).await;
}
