//! Changes, rows that cannot be read, and quotas.

use homing_store::{Changes, Page, QuotaError, StoreError};

use super::{
    HeldBy, Kept, Place,
    samples::{ids, insert_all, subscription},
};

pub(super) async fn what_has_changed_is_listed_and_nothing_else(place: Place) -> Kept {
    let store = place.open().await?;
    let [mut first, second, third] = ["a", "b", "c"].map(subscription);
    insert_all(&*store, &[first.clone(), second.clone()]).await?;
    let since = store.subscriptions_version().await?;
    let nothing = Changes { version: since, number: 2, ..Changes::default() };
    assert_eq!(store.changed_subscriptions(since).await?, Some(nothing));

    first.spec.description = Some("changed".to_owned());
    store.update_subscription(&first, first.updated).await?;
    store.insert_subscription(&third).await?;
    store.remove_subscription(second.id).await?;

    let mut changes = store.changed_subscriptions(since).await?.ok_or("too much")?;
    changes.subscriptions.sort_by_key(|one| one.id);
    let expected = Changes {
        version: store.subscriptions_version().await?,
        subscriptions: vec![first, third],
        corrupt: Vec::new(),
        removed: vec![second.id],
        number: 2,
    };
    assert_eq!(changes, expected);
    Ok(())
}

/// Of a store that was restored from a backup, and of changes that are as many as all there is.
pub(super) async fn what_is_too_far_away_has_to_be_read_as_a_whole(place: Place) -> Kept {
    let store = place.open().await?;
    store.insert_subscription(&subscription("a")).await?;
    let since = store.subscriptions_version().await?;
    assert_eq!(store.changed_subscriptions(since.saturating_add(1)).await?, None);
    place
        .shell("UPDATE versions SET version = version + 1001 WHERE name = 'subscriptions'")
        .await?;
    assert_eq!(store.changed_subscriptions(since).await?, None);
    Ok(())
}

/// Goal: what an operator changes with the shell is listed like all else, also where it cannot be
/// read.
pub(super) async fn what_an_operator_changes_is_listed(place: Place) -> Kept {
    let store = place.open().await?;
    let all = ["a", "b", "c"].map(subscription);
    insert_all(&*store, &all).await?;
    let since = store.subscriptions_version().await?;

    place.shell("UPDATE subscriptions SET filters = 'x' WHERE url LIKE '%/a'").await?;
    place.shell("UPDATE subscriptions SET topics = '[]' WHERE url LIKE '%/b'").await?;
    place.shell("DELETE FROM subscriptions WHERE url LIKE '%/c'").await?;

    let [a, b, c] = ids(&all)[..] else { return Err("not three".into()) };
    let changes = store.changed_subscriptions(since).await?.ok_or("too much")?;
    assert_eq!((changes.removed, changes.number), (vec![c], 2));
    let reported = |id| changes.corrupt.iter().find(|corrupt| corrupt.subscription == id);
    let (a, b) = (reported(a).ok_or("a is not listed")?, reported(b).ok_or("b is not listed")?);
    assert_eq!((a.field.as_str(), b.field.as_str()), ("filters", "topics"));
    // Its events wait, so it has to be known which they are.
    assert_eq!(a.topics, Some(vec!["order.*".parse()?]));
    assert_eq!(b.topics, None);
    Ok(())
}

/// Goal: processes that run while a later homing adds a column go on reading. Method: the statements
/// were prepared before, on the same connections.
pub(super) async fn a_new_column_is_no_end_of_reading(place: Place) -> Kept {
    let store = place.open().await?;
    let one = subscription("a");
    store.insert_subscription(&one).await?;
    let since = store.subscriptions_version().await?;
    let page = Page { after: None, limit: 9 };
    for column in [None, Some("ALTER TABLE subscriptions ADD COLUMN later TEXT")] {
        if let Some(column) = column {
            place.shell(column).await?;
        }
        // As often as there are connections, and more.
        for _ in 0..20 {
            assert_eq!(store.subscription(one.id).await?.as_ref(), Some(&one));
            assert_eq!(store.subscriptions(page).await?.subscriptions.len(), 1);
            let at = store.subscriptions_at(&one.spec.url, page).await?;
            assert_eq!(at.subscriptions.len(), 1);
            assert_eq!(store.all_subscriptions().await?.subscriptions.len(), 1);
            let changes = store.changed_subscriptions(since - 1).await?.ok_or("too much")?;
            assert_eq!(changes.subscriptions.len(), 1);
            store.in_workfronts_form(0, 9).await?;
        }
    }
    Ok(())
}

/// Goal: nothing unreadable is stored. Method: a spec without topics, which no draft makes.
pub(super) async fn what_cannot_be_read_back_is_not_written(place: Place) -> Kept {
    let store = place.open().await?;
    let (kept, mut bad) = (subscription("a"), subscription("b"));
    store.insert_subscription(&kept).await?;
    let before = store.subscriptions_version().await?;

    bad.spec.topics.clear();
    match store.insert_subscription(&bad).await {
        Err(StoreError::Unreadable(corrupt)) => assert_eq!(corrupt.field, "topics"),
        other => return Err(format!("{other:?}").into()),
    }
    let spoilt = homing_domain::subscription::Subscription { id: kept.id, ..bad };
    match store.update_subscription(&spoilt, kept.updated).await {
        Err(StoreError::Unreadable(corrupt)) => assert_eq!(corrupt.field, "topics"),
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(store.subscription(kept.id).await?, Some(kept));
    assert_eq!(store.subscriptions_version().await?, before);
    assert_eq!(store.count_subscriptions().await?, 1);
    Ok(())
}

/// The readable rest of a subscription is enough to repair it.
pub(super) async fn one_that_cannot_be_read_can_be_mended(place: Place) -> Kept {
    let store = place.open().await?;
    let mut one = subscription("a");
    one.spec.headers.insert("x-team".to_owned(), "payroll".to_owned());
    store.insert_subscription(&one).await?;
    place.shell("UPDATE subscriptions SET url = 'nowhere', secrets = 'x'").await?;

    let damaged = store.damaged_subscription(one.id).await?.ok_or("it is there")?;
    let fields: Vec<_> = damaged.flaws.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(fields, ["url", "secrets"]);
    assert_eq!(damaged.draft.url, "nowhere");
    assert_eq!(damaged.draft.topics, ["order.*"]);
    assert_eq!(damaged.draft.headers, one.spec.headers);
    assert_eq!(damaged.created, one.created);

    store.update_subscription(&one, one.updated).await?;
    assert_eq!(store.subscription(one.id).await?.as_ref(), Some(&one));
    let sound = store.damaged_subscription(one.id).await?.ok_or("it is there")?;
    assert_eq!(sound.flaws, []);
    Ok(())
}

pub(super) async fn quotas_are_kept_and_named(mut place: Place) -> Kept {
    let mut large = subscription("large");
    let filter = serde_json::json!({"fieldName": "a", "comparison": "eq", "fieldValue": "x"});
    large.spec.filters = homing_domain::filter::FilterSet::from_json(
        &vec![filter; 3],
        homing_domain::filter::Connector::And,
    )?;
    let bytes = u64::try_from(serde_json::to_string(&large.spec.filters.to_json())?.len())?;
    place.settings.max_subscriptions = 3;
    place.settings.max_filter_bytes = bytes;
    place.settings.max_filter_bytes_total = bytes.saturating_mul(2);
    let store = place.open().await?;
    insert_all(&*store, &["a", "b"].map(subscription)).await?;
    store.insert_subscription(&large).await?;
    match store.insert_subscription(&subscription("c")).await {
        Err(StoreError::Quota(QuotaError::Subscriptions { max: 3 })) => {}
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(store.count_subscriptions().await?, 3);

    // Lowered, they leave what is there, and let it be changed, but not grow.
    place.settings.max_subscriptions = 1;
    place.settings.max_filter_bytes = bytes.saturating_sub(1);
    let store = place.open().await?;
    large.spec.description = Some("changed".to_owned());
    store.update_subscription(&large, large.updated).await?;
    let mut grown = subscription("grown");
    grown.id = large.id;
    store.update_subscription(&grown, large.updated).await?;
    match store.update_subscription(&large, grown.updated).await {
        Err(StoreError::Quota(QuotaError::Filter { .. })) => {}
        other => return Err(format!("{other:?}").into()),
    }
    place.settings.max_filter_bytes = bytes;
    place.settings.max_filter_bytes_total = bytes.saturating_sub(1);
    match place.open().await?.update_subscription(&large, grown.updated).await {
        Err(StoreError::Quota(error @ QuotaError::Filters { .. })) => {
            assert!(error.to_string().contains("`store.max_filter_bytes_total`"), "{error}");
        }
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(store.subscription(large.id).await?.map(|one| one.spec), Some(grown.spec));
    Ok(())
}

/// Reported: `INSERT OR REPLACE` from SQLite's shell runs no trigger for the row that it takes away, and
/// quotas refused what there was room for.
pub(super) async fn totals_that_have_drifted_are_counted_anew(mut place: Place) -> Kept {
    place.settings.max_subscriptions = 3;
    let store = place.open().await?;
    let all = ["a", "b"].map(subscription);
    insert_all(&*store, &all).await?;
    place
        .shell(match place.held_by {
            HeldBy::Folder(_) => "INSERT OR REPLACE INTO subscriptions SELECT * FROM subscriptions",
            HeldBy::Database(_) => {
                "UPDATE homing.subscription_totals SET number = 4, filter_bytes = 9"
            }
        })
        .await?;
    assert_eq!(store.count_subscriptions().await?, 4);
    assert!(store.insert_subscription(&subscription("c")).await.is_err());

    let census = store.recount_subscriptions().await?;

    assert_eq!((census.number, census.version), (2, store.subscriptions_version().await?));
    assert_eq!(census.updated_sum, all.iter().map(|one| one.updated.get()).sum::<i64>());
    assert_eq!(store.count_subscriptions().await?, 2);
    store.insert_subscription(&subscription("c")).await?;
    Ok(())
}
