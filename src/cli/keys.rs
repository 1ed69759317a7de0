//! `homing keys`

use serde_json::json;

use super::{
    failure::{Exit, Failure},
    globals::Globals,
    output::Output,
    table::Rows,
};
use crate::services::Services;
use homing_domain::{clock, encryption_key::EncryptionKey};

const EXAMPLES: &str = "\
Examples:
  homing keys generate
  homing keys list
  homing keys rotate

To replace the key of a pool that runs: add the new key behind the old one in
`store.encryption_keys` (or the key file) of every process and restart them; put it in front and
restart them again; run `homing keys rotate`; remove the old key.";

const GENERATE_EXAMPLES: &str = "\
Examples:
  homing keys generate
  homing keys generate > /etc/homing/key";

const LIST_EXAMPLES: &str = "\
Examples:
  homing keys list
  homing keys list --json";

const ROTATE_EXAMPLES: &str = "\
Examples:
  homing keys rotate";

#[derive(clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Print a new key
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate,
    /// List the keys that secrets in the store are encrypted with, by id
    #[command(after_help = LIST_EXAMPLES)]
    List,
    /// Encrypt all secrets and payloads in the store with the first key
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate,
}

pub(super) async fn run(
    globals: &Globals,
    command: &Command,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    if let Command::Generate = command {
        return generate(output);
    }
    globals
        .with_services(async |services| match command {
            Command::Generate => generate(output),
            Command::List => list(services, output).await,
            Command::Rotate => rotate(services, output).await,
        })
        .await
}

fn generate(output: &mut Output<'_>) -> Result<Exit, Failure> {
    let key = EncryptionKey::from_bytes(clock::random().map_err(Failure::Randomness)?);
    if output.json {
        output.document(&json!({ "id": key.id(), "key": key.reveal() }))?;
    } else {
        output.line(format_args!("{}", key.reveal()))?;
    }
    Ok(Exit::Done)
}

async fn list(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let keys = services.store.keys().await.map_err(Failure::Store)?;
    if output.json {
        output.document(&json!({ "primary": keys.primary, "used": keys.used }))?;
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(output, &["KEY", "USE"]);
    for id in &keys.used {
        let primary = *id == keys.primary;
        let usage = if primary { "encrypts" } else { "decrypts what was encrypted before" };
        rows.add([id.to_string(), usage.to_owned()]);
    }
    rows.write(output, &[])?;
    if keys.used.len() > 1 {
        output.aside("`homing keys rotate` encrypts everything with the first key.");
    }
    Ok(Exit::Done)
}

async fn rotate(services: &Services, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let done = services.store.reencrypt().await.map_err(Failure::Store)?;
    let used = services.store.keys().await.map_err(Failure::Store)?.used;
    if output.json {
        let corrupt: Vec<_> = done.corrupt.iter().map(ToString::to_string).collect();
        output.document(&json!({
            "encrypted": done.changed,
            "corrupt": corrupt,
            "payloads": done.payloads,
            "parked": done.parked,
            "unreadable_parked": done.unreadable_parked,
            "used": used,
        }))?;
    } else {
        output.line(format_args!("encrypted {} subscriptions anew", done.changed))?;
        output.line(format_args!("encrypted {} parts of payloads anew", done.payloads))?;
        output.line(format_args!("encrypted {} parked messages anew", done.parked))?;
    }
    if done.unreadable_parked > 0 {
        output.notice(format_args!(
            "{} parked messages cannot be decrypted and are unchanged; the former keys are still \
             needed for them, or drop them",
            done.unreadable_parked
        ));
    }
    for corrupt in &done.corrupt {
        output.notice(corrupt);
    }
    Ok(if done.is_whole() { Exit::Done } else { Exit::Failed })
}
