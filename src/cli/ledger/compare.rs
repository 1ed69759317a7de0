//! `homing ledger compare`

use std::collections::{BTreeMap, BTreeSet};

use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::received::Received;
use crate::{
    cli::{
        complete,
        failure::{Exit, Failure},
        output::Output,
        range::Period,
        words,
    },
    services::Services,
};
use homing_domain::{
    clock,
    id::{DeliveryId, SubscriptionId},
    ledger::{Checksum, HourState, LedgerHour},
    time::{UnixMillis, hour_of, next_hour},
};
use homing_store::{MAX_PAGE_LIMIT, RecordFilter, RecordPage};

const EXAMPLES: &str = "\
Examples:
  homing ledger compare 01931f5a-9c4e-7000-8000-0123456789ab received.txt
  homing ledger compare 01931f5a-9c4e-7000-8000-0123456789ab received.jsonl --since 2d --until 1h

FILE has a line for each request that the receiver answered with 2xx: `webhook-id webhook-timestamp`,
or an object in JSON with both. Hours are compared from that of its first line until now, or from
--since to --until. Ids are from the attempt log, as far back as that goes. Exit code 3: an hour
differs or is not provable, or none was compared.";

/// Ids of an hour that are named at most.
const MAX_NAMED: usize = 1_000;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// Id of the subscription
    #[arg(value_name = "ID")]
    #[arg(add = ArgValueCandidates::new(complete::subscriptions))]
    subscription: SubscriptionId,
    /// Log of the receiver
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    hours: Period,
}

/// The result for one hour.
#[derive(Serialize)]
struct Compared {
    hour: String,
    /// `same`, `differs`, `open` or `not_provable`.
    result: &'static str,
    /// Says if `delivered` is all; where it is not, a difference may be homing's.
    state: HourState,
    delivered: u64,
    received: u64,
    /// Delivered by the attempt log, and nowhere in the file.
    missing: Vec<DeliveryId>,
    /// In the file more often than delivered.
    repeated: Vec<DeliveryId>,
    /// In the file, and not delivered in this hour by the attempt log: an answer that never arrived.
    unknown: Vec<DeliveryId>,
    /// The attempt log has not all of the hour's deliveries.
    log_is_incomplete: bool,
}

pub(super) async fn run(
    services: &Services,
    arguments: &Arguments,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let now = clock::now();
    let received = Received::read(&arguments.file).await?;
    let first = received.0.keys().next().copied();
    let since = arguments.hours.since(now)?.map(hour_of).or(first);
    let until = arguments.hours.until(now)?.unwrap_or(now);
    let Some(since) = since else {
        let text = format!("{}: it is empty; say --since", arguments.file);
        return Err(Failure::Usage(text));
    };
    let listing = services.store.ledger(arguments.subscription, since, until, now).await;
    let listing = listing.map_err(Failure::Store)?;
    let is_kept = listing.kept_since.is_some_and(|kept| kept <= since);
    let mut listed: BTreeMap<_, _> = listing.hours.into_iter().map(|it| (it.start, it)).collect();
    // What was received in an hour of which nothing is kept was not delivered, as far as is known.
    for hour in received.0.keys().filter(|hour| (since..until).contains(*hour)) {
        let state = HourState::NotProvable;
        let unknown = LedgerHour { start: *hour, checksum: Checksum::default(), state };
        listed.entry(*hour).or_insert(unknown);
    }
    let everything: BTreeSet<_> = received.0.values().flatten().copied().collect();
    let mut hours = Vec::new();
    for hour in listed.values() {
        hours
            .push(compare(services, arguments.subscription, hour, (&received, &everything)).await?);
    }
    let is_present = |hour: &LedgerHour| now < next_hour(hour.start);
    let is_sound = is_kept
        && hours.iter().any(|hour| hour.result == "same")
        && listed.values().zip(&hours).all(|(listed, hour)| {
            hour.result == "same" || (hour.result == "open" && is_present(listed))
        });
    if output.json {
        output.document(&serde_json::json!({ "sound": is_sound, "hours": hours }))?;
    } else {
        write(&hours, output)?;
        if !is_kept {
            output.notice(format_args!("homing has not kept all hours from the first one on"));
        }
    }
    Ok(if is_sound { Exit::Done } else { Exit::Unsound })
}

async fn compare(
    services: &Services,
    subscription: SubscriptionId,
    hour: &LedgerHour,
    (received, everything): (&Received, &BTreeSet<DeliveryId>),
) -> Result<Compared, Failure> {
    let has = received.checksum(hour.start);
    let result = match hour.state {
        HourState::Open => "open",
        HourState::Complete | HourState::NotProvable if hour.checksum != has => "differs",
        HourState::Complete => "same",
        HourState::NotProvable => "not_provable",
    };
    let mut compared = Compared {
        hour: hour.start.to_string(),
        result,
        state: hour.state,
        delivered: hour.checksum.number,
        received: has.number,
        missing: Vec::new(),
        repeated: Vec::new(),
        unknown: Vec::new(),
        log_is_incomplete: false,
    };
    if result != "differs" {
        return Ok(compared);
    }
    let delivered = delivered(services, subscription, hour.start).await?;
    let logged: u64 = delivered.values().sum();
    let mut here: BTreeMap<DeliveryId, u64> = BTreeMap::new();
    for id in received.0.get(&hour.start).into_iter().flatten() {
        let count = here.entry(*id).or_default();
        *count = count.saturating_add(1);
    }
    let named = |ids: &mut dyn Iterator<Item = DeliveryId>| ids.take(MAX_NAMED).collect();
    compared.missing = named(&mut delivered.keys().filter(|id| !everything.contains(id)).copied());
    compared.unknown = named(&mut here.keys().filter(|id| !delivered.contains_key(id)).copied());
    let is_repeated = |(id, count): &(&DeliveryId, &u64)| {
        delivered.get(id).is_some_and(|delivered| *count > delivered)
    };
    compared.repeated = named(&mut here.iter().filter(is_repeated).map(|(id, _)| *id));
    compared.log_is_incomplete = logged < hour.checksum.number;
    Ok(compared)
}

/// The number of deliveries of each id in an hour, by the attempt log.
async fn delivered(
    services: &Services,
    subscription: SubscriptionId,
    hour: UnixMillis,
) -> Result<BTreeMap<DeliveryId, u64>, Failure> {
    let filter = RecordFilter {
        subscription: Some(subscription),
        classes: "accepted".parse().ok(),
        since: Some(hour),
        until: Some(next_hour(hour)),
        ..RecordFilter::default()
    };
    let mut delivered: BTreeMap<DeliveryId, u64> = BTreeMap::new();
    let mut page = RecordPage { filter, after: None, limit: MAX_PAGE_LIMIT };
    loop {
        let listing = services.store.attempts(&page).await.map_err(Failure::Store)?;
        for (_, id) in listing.records.iter().filter_map(|record| record.recipient) {
            let count = delivered.entry(id).or_default();
            *count = count.saturating_add(1);
        }
        page.after = listing.next;
        if page.after.is_none() {
            return Ok(delivered);
        }
    }
}

fn write(hours: &[Compared], output: &mut Output<'_>) -> Result<(), Failure> {
    let of = |result| hours.iter().filter(move |hour| hour.result == result);
    for hour in of("differs") {
        let at = words::to_seconds(&hour.hour);
        let (delivered, received) = (hour.delivered, hour.received);
        let all = if hour.state == HourState::NotProvable { ", which is not all" } else { "" };
        output
            .line(format_args!("{at} differs: {delivered} delivered{all}, {received} received"))?;
        let lists =
            [("missing", &hour.missing), ("repeated", &hour.repeated), ("unknown", &hour.unknown)];
        for (word, ids) in lists {
            for id in ids {
                output.line(format_args!("  {word:<8}  {id}"))?;
            }
        }
        if hour.log_is_incomplete {
            output.notice(format_args!("{at}: the attempt log has not all of its deliveries"));
        }
    }
    for hour in of("not_provable") {
        let at = words::to_seconds(&hour.hour);
        output
            .line(format_args!("{at} is the same, and not provable: homing may lack deliveries"))?;
    }
    for hour in of("open") {
        let at = words::to_seconds(&hour.hour);
        output.aside(format_args!("{at} is open, and was not compared."));
    }
    let same = u64::try_from(of("same").count()).unwrap_or(u64::MAX);
    let delivered = of("same").map(|hour| hour.delivered).sum::<u64>();
    let same = words::count(same, "hour");
    output.line(format_args!("{same} the same, with {delivered} delivered and received"))
}
