//! Reads files that settings name, within a deadline and up to a size: a FIFO without a writer and
//! a network file system that hangs do not answer, and a device may never end.

pub mod certificates;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;

const DEADLINE: Duration = Duration::from_secs(5);
/// Far above what the largest bundle of certificates has.
const MAX_BYTES: u64 = 8 * 1_024 * 1_024;

/// Files that did not answer in time and that a thread still waits for: no other thread joins it.
static SILENT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Reads the file at `path`. Blocks for five seconds at most: not for a thread that serves others.
///
/// # Errors
///
/// It cannot be read, is too large, or does not answer in time.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, DEADLINE)
}

/// Reads the text in the file at `path`; as [`read`].
///
/// # Errors
///
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read(path)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a text in UTF-8"))
}

fn read_within(path: &Path, deadline: Duration) -> io::Result<Vec<u8>> {
    if SILENT.lock().contains(path) {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "it still does not answer"));
    }
    let (done, reading) = mpsc::sync_channel(1);
    let read = path.to_owned();
    thread::Builder::new().name("file".to_owned()).spawn(move || {
        // The caller may have stopped waiting.
        let _sent = done.send(read_whole(&read));
        SILENT.lock().remove(&read);
    })?;
    if let Ok(read) = reading.recv_timeout(deadline) {
        return read;
    }
    let mut silent = SILENT.lock();
    reading.try_recv().unwrap_or_else(|_still_nothing| {
        silent.insert(path.to_owned());
        let message = format!("it does not answer within {} s", deadline.as_secs_f32());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        return Ok(bytes);
    }
    let message = format!("it has more than {} MiB", MAX_BYTES / 1_024 / 1_024);
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a file that hangs costs its deadline once, and one thread; once it answers, it is
    /// read.
    #[test]
    fn a_file_that_does_not_answer_is_given_up_and_read_when_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let short = Duration::from_millis(100);

        let error = read_within(&path, short).unwrap_err();
        assert_eq!(error.to_string(), "it does not answer within 0.1 s");
        let error = read_within(&path, DEADLINE).unwrap_err();
        assert_eq!(error.to_string(), "it still does not answer");

        // The thread that reads finds an end, and ends.
        drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
        while SILENT.lock().contains(&path) {
            thread::yield_now();
        }
        let writing = thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "text")
        });
        assert_eq!(read_text(&path).unwrap(), "text");
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 8 MiB");
    }
}
