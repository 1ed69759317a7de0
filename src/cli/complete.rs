//! Values that exist, for completions in a shell: ids of subscriptions, URLs, topics.
//!
//! The shell runs the program at every TAB with the words typed so far, of which the options of
//! every command count: `--profile production` completes what is there. What does not answer in
//! time completes nothing, silently: a shell has no place for an error.

use std::{collections::BTreeMap, ffi::OsString, thread, time::Duration};

use clap::{CommandFactory, FromArgMatches};
use clap_complete::{CompleteEnv, engine::CompletionCandidate};
use tokio::{runtime::Builder, time::timeout};

use super::{
    Cli,
    failure::Failure,
    globals::Globals,
    target::{Needs, Target},
};
use homing_store::{Page, TopicPage};

/// A person waits for it.
const DEADLINE: Duration = Duration::from_secs(2);
/// Values that are offered at most.
const MAX_VALUES: u32 = 1_000;
/// The name under which shells run the program.
pub(super) const NAME: &str = "homing";
/// The variable by which a shell asks for completions.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for completions, and ends the process then.
pub fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin(NAME).complete();
}

/// Ids of subscriptions, with their URLs.
pub(super) fn subscriptions() -> Vec<CompletionCandidate> {
    found(async |target| {
        let views = listed(target).await?;
        Ok(views.into_iter().map(|(id, url)| (id, Some(url))).collect())
    })
}

/// URLs of subscriptions.
pub(super) fn urls() -> Vec<CompletionCandidate> {
    found(async |target| {
        Ok(listed(target).await?.into_iter().map(|(_, url)| (url, None)).collect())
    })
}

/// Topics that were seen.
pub(super) fn topics() -> Vec<CompletionCandidate> {
    found(async |target| {
        let page = TopicPage { limit: MAX_VALUES, ..TopicPage::default() };
        let topics = target.topics(&page).await?.topics;
        Ok(topics.into_iter().map(|seen| (seen.topic, None)).collect())
    })
}

async fn listed(target: Target<'_>) -> Result<Vec<(String, String)>, Failure> {
    let page = Page { after: None, limit: MAX_VALUES };
    let views = target.subscriptions(page).await?.subscriptions;
    Ok(views.into_iter().map(|view| (view.id.to_string(), view.url)).collect())
}

/// The values, each once, with what is shown beside them.
type Values = BTreeMap<String, Option<String>>;

fn found(
    look: impl AsyncFnOnce(Target<'_>) -> Result<Values, Failure> + Send + 'static,
) -> Vec<CompletionCandidate> {
    // A thread of its own, because the caller may be within a runtime.
    let looking = thread::spawn(move || {
        let mut globals = globals()?;
        globals.silence();
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let values = runtime.block_on(async {
            timeout(DEADLINE, Box::pin(globals.with_target(Needs::Existing, look))).await
        });
        runtime.shutdown_background();
        values.ok()?.ok()
    });
    let values = looking.join().ok().flatten().unwrap_or_default();
    let candidate = |(value, about): (String, Option<String>)| {
        CompletionCandidate::new(value).help(about.map(Into::into))
    };
    values.into_iter().map(candidate).collect()
}

/// The options of every command among the words that were typed.
fn globals() -> Option<Globals> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let words: Vec<OsString> = words.collect();
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    Globals::from_arg_matches(&matches).ok()
}
