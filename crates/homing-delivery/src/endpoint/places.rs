//! Limits concurrent name lookups, by domain: a domain whose name servers are silent holds a
//! bounded number of places, and never those of names that have been answered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// Concurrent lookups of unknown names: in total, and below one domain.
const MAX_UNKNOWN: usize = 96;
const MAX_DOMAIN: usize = 24;

/// ... of names without a recent answer.
const MAX_SILENT: usize = 16;

/// ... of answered names, beyond those that find a place among the unknown ones. Two sockets each,
/// so that all of them together stay far below the limit of open files.
const MAX_ANSWERED: usize = 48;

/// A name whose name servers were silent counts as silent for this long.
const SILENT_FOR: Duration = Duration::from_mins(5);

/// Names that are remembered; the oldest half is forgotten.
const MAX_REMEMBERED: usize = 8_192;

/// Places for lookups.
pub(super) struct Places {
    unknown: Arc<Semaphore>,
    silent: Arc<Semaphore>,
    answered: Arc<Semaphore>,
    domains: Mutex<HashMap<String, Arc<Semaphore>>>,
    names: Mutex<Names>,
}

/// The knowledge about names: recent ones, and those before them.
#[derive(Default)]
struct Names {
    late: HashMap<String, Known>,
    before: HashMap<String, Known>,
}

#[derive(Clone, Copy)]
enum Known {
    Answered,
    SilentAt(Instant),
}

/// A place; given back when dropped.
pub(super) struct Place {
    _general: OwnedSemaphorePermit,
    _domain: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            unknown: places(MAX_UNKNOWN),
            silent: places(MAX_SILENT),
            answered: places(MAX_ANSWERED),
            domains: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// A place for looking up `name`; `None` if none became free within `patience`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropped, the place in the queue is given up.
    pub(super) async fn enter(&self, name: &str, patience: Duration) -> Option<Place> {
        timeout(patience, self.wait(name)).await.ok()?
    }

    async fn wait(&self, name: &str) -> Option<Place> {
        let of = async |places: &Arc<Semaphore>| Arc::clone(places).acquire_owned().await.ok();
        let known = self.names.lock().known(name);
        match known {
            Some(Known::Answered) => {
                let free = Arc::clone(&self.unknown).try_acquire_owned().ok();
                let general = match free {
                    Some(free) => free,
                    None => of(&self.answered).await?,
                };
                Some(Place { _general: general, _domain: None })
            }
            Some(Known::SilentAt(_)) => {
                Some(Place { _general: of(&self.silent).await?, _domain: None })
            }
            None => {
                let domain = of(&self.domain(name)).await?;
                Some(Place { _general: of(&self.unknown).await?, _domain: Some(domain) })
            }
        }
    }

    /// Notes that the name servers of `name` answered, or did not.
    pub(super) fn note(&self, name: &str, was_answered: bool) {
        let silent = || Known::SilentAt(Instant::now());
        let known = if was_answered { Known::Answered } else { silent() };
        self.names.lock().note(name, known);
    }

    fn domain(&self, name: &str) -> Arc<Semaphore> {
        let mut domains = self.domains.lock();
        // Drops those that are not in use.
        if domains.len() >= MAX_REMEMBERED {
            domains.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let new = || Arc::new(Semaphore::new(MAX_DOMAIN));
        Arc::clone(domains.entry(domain(name).to_owned()).or_insert_with(new))
    }
}

impl Names {
    fn known(&self, name: &str) -> Option<Known> {
        let known = self.late.get(name).or_else(|| self.before.get(name)).copied()?;
        match known {
            Known::SilentAt(since) if since.elapsed() >= SILENT_FOR => None,
            Known::SilentAt(_) | Known::Answered => Some(known),
        }
    }

    fn note(&mut self, name: &str, known: Known) {
        if self.late.len() >= MAX_REMEMBERED / 2 {
            self.before = std::mem::take(&mut self.late);
        }
        self.late.insert(name.to_owned(), known);
    }
}

/// The registered domain, roughly: the last two labels, or three if the country's registry has
/// short names above it (`example.co.uk`). A list of all such suffixes would be a megabyte and out
/// of date, only for a share of places.
fn domain(name: &str) -> &str {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut labels = name.rsplit('.');
    let (top, second) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    let has_registry = top.len() == 2 && second.len() <= 3;
    let count = if has_registry { 3 } else { 2 };
    let length: usize =
        name.rsplit('.').take(count).map(|label| label.len().saturating_add(1)).sum();
    name.get(name.len().saturating_sub(length.saturating_sub(1))..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1);

    #[test]
    fn a_domain_is_the_registered_part_of_a_name() {
        for (name, expected) in [
            ("hooks.example.com", "example.com"),
            ("a.b.example.com.", "example.com"),
            ("hooks.example.co.uk", "example.co.uk"),
            ("hooks.example.de", "example.de"),
            ("example.com", "example.com"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            assert_eq!(domain(name), expected, "{name}");
        }
    }

    /// Goal: the owner of a domain holds a share of the places. Method: virtual time; as many names
    /// as there are places, and one of another domain.
    #[tokio::test(start_paused = true)]
    async fn the_names_of_a_domain_hold_their_share_and_no_more() {
        let places = Places::new();
        let mut held = Vec::new();
        for number in 0..MAX_UNKNOWN {
            held.extend(places.enter(&format!("n{number}.example.com"), NOW).await);
        }
        assert_eq!(held.len(), MAX_DOMAIN);
        assert!(places.enter("hooks.example.net", NOW).await.is_some());
        held.pop();
        assert!(places.enter("last.example.com", NOW).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_were_answered_always_find_a_place() {
        let places = Places::new();
        places.note("well.example", true);
        let mut held = Vec::new();
        for number in 0..1_000 {
            held.extend(places.enter(&format!("a.n{number}.example"), NOW).await);
            held.extend(places.enter(&format!("a.domain{number}.com"), NOW).await);
        }
        assert_eq!(held.len(), MAX_UNKNOWN);
        assert!(places.enter("new.example", NOW).await.is_none());
        assert!(places.enter("well.example", NOW).await.is_some());
    }

    /// Goal: names that are known to be silent leave the places of new ones alone. Method: virtual
    /// time, until it is forgotten.
    #[tokio::test(start_paused = true)]
    async fn names_that_were_silent_have_few_places_for_a_while() {
        let places = Places::new();
        let names: Vec<_> = (0..100).map(|number| format!("a.domain{number}.com")).collect();
        for name in &names {
            places.note(name, false);
        }
        let mut held = Vec::new();
        for name in &names {
            held.extend(places.enter(name, NOW).await);
        }
        assert_eq!(held.len(), MAX_SILENT);
        assert_eq!(places.unknown.available_permits(), MAX_UNKNOWN);
        tokio::time::advance(SILENT_FOR).await;
        let _new = places.enter("a.domain99.com", NOW).await.unwrap();
        assert!(places.unknown.available_permits() < MAX_UNKNOWN);
    }

    #[test]
    fn the_number_of_remembered_names_is_bounded() {
        let places = Places::new();
        for number in 0..100_000 {
            places.note(&number.to_string(), true);
        }
        let names = places.names.lock();
        assert!(names.late.len() + names.before.len() <= MAX_REMEMBERED);
        assert!(names.known("99999").is_some() && names.known("1").is_none());
    }
}
