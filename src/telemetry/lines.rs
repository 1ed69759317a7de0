//! Log lines on their way to standard error: who logs never waits for who reads.
//!
//! A thread of its own writes them. What it cannot write fast enough waits, up to a bound; what is
//! more is lost, and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Some megabytes at most, and more than a burst that a slow terminal has to keep up with.
const WAITING_MAX: usize = 8_192;

/// Keeps log lines being written. Dropped, it waits until those that there are have been written,
/// for a second at most; what is logged from then on is lost.
#[derive(Debug)]
#[must_use = "nothing is logged once this is dropped"]
pub struct Logging {
    backlog: Arc<Backlog>,
    _writing: WorkerGuard,
}

impl Logging {
    /// How many lines were lost because nobody read them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.backlog.lost.load(Ordering::Relaxed)
    }
}

/// Lines that were logged and are not written yet.
#[derive(Debug, Default)]
struct Backlog {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Backlog {
    /// Whether there is room for another one.
    fn takes_one(&self) -> bool {
        let room = |waiting: usize| (waiting < WAITING_MAX).then_some(waiting.saturating_add(1));
        let taken = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn wrote_one(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where lines are logged to; the other end writes them to `output`.
pub(super) fn lines(output: impl Write + Send + 'static) -> (Lines, Logging) {
    let backlog = Arc::new(Backlog::default());
    let output = Written { output, backlog: Arc::clone(&backlog) };
    let (queue, writing) = NonBlockingBuilder::default()
        .lossy(true)
        // One more than ever wait: the order to end finds room always. Where it does not, the
        // library says so on standard output, which belongs to answers.
        .buffered_lines_limit(WAITING_MAX.saturating_add(1))
        .thread_name("log")
        .finish(output);
    let lines = Lines { queue, backlog: Arc::clone(&backlog) };
    (lines, Logging { backlog, _writing: writing })
}

/// Takes whole lines, at once.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: NonBlocking,
    backlog: Arc<Backlog>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.backlog.takes_one() { self.queue.write(line) } else { Ok(line.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Writes whole lines, however long that takes.
struct Written<W> {
    output: W,
    backlog: Arc<Backlog>,
}

impl<W: Write> Write for Written<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let written = self.output.write_all(line);
        self.backlog.wrote_one();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes as long as somebody reads the other end.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(lines: &mut Lines, number: usize) {
        lines.write_all(format!("{number}\n").as_bytes()).unwrap();
    }

    #[test]
    fn what_nobody_reads_is_lost_beyond_a_bound_and_counted() {
        let (to, unread) = mpsc::sync_channel(0);
        let (mut lines, logging) = lines(Pipe(to));
        (0..WAITING_MAX).for_each(|number| log(&mut lines, number));
        assert_eq!(logging.lost(), 0);
        (0..5).for_each(|number| log(&mut lines, number));
        assert_eq!(logging.lost(), 5);

        let read: Vec<_> = (0..WAITING_MAX).map(|_| unread.recv().unwrap()).collect();
        assert_eq!(read.first().unwrap(), b"0\n");
        assert_eq!(read.last().unwrap(), format!("{}\n", WAITING_MAX - 1).as_bytes());
    }

    #[test]
    fn what_was_logged_is_written_before_the_end() {
        let (to, read) = mpsc::sync_channel(WAITING_MAX);
        let (mut lines, logging) = lines(Pipe(to));
        (0..1_000).for_each(|number| log(&mut lines, number));
        drop(logging);
        assert_eq!(read.try_iter().count(), 1_000);
    }
}
