//! A PostgreSQL server is seldom homing's alone: whom it shares it with, and what it may do there.

use std::error::Error;

use homing_store::{StoreError, settings::StoreSettings};

use super::{Kept, samples::subscription};
use crate::support::database::Database;

fn settings(url: impl Into<String>) -> StoreSettings {
    StoreSettings { max_connections: 2, ..super::settings(url) }
}

async fn refusal(url: impl Into<String>) -> Result<String, Box<dyn Error>> {
    let opened = homing_store::open(&settings(url)).await;
    Ok(opened.err().ok_or("it was opened")?.report())
}

#[tokio::test]
async fn tables_of_other_programs_stay_out_of_the_way() -> Kept {
    let database = Database::new().await;
    database.shell("CREATE TABLE public.subscriptions (theirs text)").await?;

    let store = homing_store::open(&settings(database.url())).await?;
    store.insert_subscription(&subscription("a")).await?;

    assert_eq!(store.count_subscriptions().await?, 1);
    database.shell("INSERT INTO public.subscriptions VALUES ('still theirs')").await?;
    Ok(())
}

#[tokio::test]
async fn a_schema_of_another_program_is_refused_and_left_as_it_was() -> Kept {
    let database = Database::new().await;
    database.shell("CREATE SCHEMA homing; CREATE TABLE homing.subscriptions (x text)").await?;

    let reported = refusal(database.url()).await?;

    assert!(reported.starts_with("the schema `homing` of postgres://homing@"), "{reported}");
    assert!(reported.contains("holds tables of another program"), "{reported}");
    database.shell("INSERT INTO subscriptions (x) VALUES ('theirs')").await?;
    Ok(())
}

#[tokio::test]
async fn an_encoding_that_cannot_hold_every_text_is_refused() -> Kept {
    let database = Database::with("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    let reported = refusal(database.url()).await?;
    assert!(reported.contains("has the encoding LATIN1, homing needs UTF8"), "{reported}");
    Ok(())
}

/// Goal: the refusal of a server is reported, with its address, and without the password.
#[tokio::test]
async fn a_server_that_refuses_everyone_is_reported_without_the_password() -> Kept {
    let database = Database::new().await;
    let mut url: url::Url = database.url().parse()?;
    url.set_password(Some("that-stays-secret")).map_err(|()| "the URL has no host")?;
    let wrong_password = refusal(url.clone()).await?;
    url.set_port(Some(9)).map_err(|()| "the URL has no host")?;
    let no_server = refusal(url).await?;
    for (reported, why) in
        [(wrong_password, "password authentication failed"), (no_server, "Connection refused")]
    {
        assert!(
            reported.starts_with("cannot connect to the store at postgres://homing@"),
            "{reported}"
        );
        assert!(reported.contains(why) && !reported.contains("stays-secret"), "{reported}");
    }
    Ok(())
}

/// Goal: a role that may only read and write rows can work with a store that another has made, but
/// cannot bring its schema up to date.
#[tokio::test]
async fn a_worker_needs_no_right_to_change_the_schema() -> Kept {
    let database = Database::new().await;
    homing_store::open(&settings(database.url())).await?.close().await;
    // `NOCREATEDB NOSUPERUSER` are what a role is without more words; roles belong to the server,
    // so that the owner of the database plays the part after giving up the right.
    let role = "REVOKE CREATE ON DATABASE current_database FROM CURRENT_USER";
    let role = role.replace("current_database", &database.name);
    database.shell(&format!("{role}; REVOKE CREATE ON SCHEMA homing FROM CURRENT_USER")).await?;

    let store = homing_store::open(&settings(database.url())).await?;
    store.insert_subscription(&subscription("a")).await?;
    store.close().await;

    database.shell("DELETE FROM _sqlx_migrations WHERE version > 1").await?;
    assert!(matches!(
        homing_store::open(&settings(database.url())).await,
        Err(StoreError::Migrate(_))
    ));
    Ok(())
}
