//! Writes a file for every event of `files.#`, with homing's schedule, circuits and parking.
//!
//! Run it with `cargo run --example any_job -- FOLDER`, beside a RabbitMQ on this machine.

use std::{env, error::Error, io::ErrorKind, path::PathBuf, time::Duration};

use homing_delivery::{
    CancellationToken, Delivery, Handler, HandlerError, JobOutcome, Pool, Subscription, UnixMillis,
    async_trait,
};

/// Writes each event's body to a file of this folder.
pub(crate) struct Files(pub(crate) PathBuf);

#[async_trait]
impl Handler for Files {
    async fn attempt(
        &self,
        delivery: &Delivery,
        _subscription: &Subscription,
        _now: UnixMillis,
    ) -> Result<JobOutcome, HandlerError> {
        if delivery.event.body.is_empty() {
            return Ok(JobOutcome::Cancel("there is nothing to write".to_owned()));
        }
        if tokio::fs::try_exists(self.0.join("paused")).await? {
            return Ok(JobOutcome::Snooze(Duration::from_secs(1)));
        }
        let file = self.0.join(delivery.id().to_string());
        match tokio::fs::write(file, &delivery.event.body).await {
            Ok(()) => Ok(JobOutcome::Done),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(JobOutcome::Retry("the folder is missing".to_owned()))
            }
            // Our own failure: no attempt is counted.
            Err(error) => Err(error.into()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("name a folder")?;
    let pool = Pool::builder(Files(folder.into())).open().await?;
    pool.subscribe("files.#", "files").await?;
    let stop = CancellationToken::new();
    let interrupted = async {
        let interrupted = tokio::signal::ctrl_c().await;
        stop.cancel();
        interrupted
    };
    let (interrupted, ()) = tokio::join!(interrupted, pool.run(stop.clone()));
    Ok(interrupted?)
}
