//! The writer of log lines: logging never waits for the reader, and text from outside is made
//! visible: no terminal obeys it, and it forges no line.
//!
//! A separate thread writes the lines. A bounded number of them waits for it; further ones are
//! lost, and counted.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tracing::field::Field;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    field::MakeExt,
    fmt::{
        FormatFields, MakeWriter,
        format::{Writer, debug_fn},
    },
};

use homing_domain::report::{visible, visible_json};

/// Some megabytes at most, and enough for a burst on a slow terminal.
const MAX_WAITING: usize = 8_192;

/// Keeps the writer running. Dropping it waits until all lines are written, for a second at most;
/// later ones are lost.
#[derive(Debug)]
#[must_use = "nothing is logged once this is dropped"]
pub struct Logging {
    backlog: Arc<Backlog>,
    _writing: WorkerGuard,
}

impl Logging {
    /// The number of lines that were lost because they were not read in time.
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
    /// Takes room for another line; `false`: there is none.
    fn takes_one(&self) -> bool {
        let room = |waiting: usize| (waiting < MAX_WAITING).then_some(waiting.saturating_add(1));
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

/// The fields of a human-readable line as the library writes them, with text from outside made
/// visible.
pub(super) fn fields() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let value = format!("{value:?}");
        let value = visible(&value);
        // Source: ECMA-48, 8.3.117: `CSI 3 m` is italic, `CSI 2 m` faint, `CSI 0 m` neither.
        match field.name() {
            "message" => write!(writer, "{value}"),
            // Fields of records of the `log` crate, which the library writes elsewhere.
            name if name.starts_with("log.") => Ok(()),
            name if writer.has_ansi_escapes() => {
                write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}")
            }
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

/// The sink of log lines; its thread writes them to `output`.
pub(super) fn lines(output: impl Write + Send + 'static) -> (Lines, Logging) {
    let backlog = Arc::new(Backlog::default());
    let output = Written { output, backlog: Arc::clone(&backlog) };
    let (queue, writing) = NonBlockingBuilder::default()
        .lossy(true)
        // One more than ever wait, so that the order to end always finds room: otherwise the
        // library writes to standard output, which belongs to answers.
        .buffered_lines_limit(MAX_WAITING.saturating_add(1))
        .thread_name("log")
        .finish(output);
    let lines = Lines { queue, backlog: Arc::clone(&backlog), are_json: false };
    (lines, Logging { backlog, _writing: writing })
}

/// Accepts whole lines, without waiting.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: NonBlocking,
    backlog: Arc<Backlog>,
    are_json: bool,
}

impl Lines {
    /// The same, each of them a JSON document.
    pub(super) fn of_json(self) -> Self {
        Self { are_json: true, ..self }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.backlog.takes_one() {
            match str::from_utf8(line) {
                Ok(text) if self.are_json => self.queue.write_all(visible_json(text).as_bytes())?,
                Ok(_) | Err(_) => self.queue.write_all(line)?,
            }
        }
        Ok(line.len())
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

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::{config::LogFormat, telemetry::layer};

    /// Writes as long as the other end is read.
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
    fn unread_lines_are_lost_beyond_a_bound_and_counted() {
        let (to, unread) = mpsc::sync_channel(0);
        let (mut lines, logging) = lines(Pipe(to));
        (0..MAX_WAITING).for_each(|number| log(&mut lines, number));
        assert_eq!(logging.lost(), 0);
        (0..5).for_each(|number| log(&mut lines, number));
        assert_eq!(logging.lost(), 5);

        let read: Vec<_> = (0..MAX_WAITING).map(|_| unread.recv().unwrap()).collect();
        assert_eq!(read.first().unwrap(), b"0\n");
        assert_eq!(read.last().unwrap(), format!("{}\n", MAX_WAITING - 1).as_bytes());
    }

    /// The log lines of an event with `text` from outside.
    fn logged(text: &str, format: LogFormat) -> String {
        let (to, read) = mpsc::sync_channel(MAX_WAITING);
        let (lines, logging) = lines(Pipe(to));
        let registry = tracing_subscriber::registry().with(layer(format, lines, false));
        tracing::subscriber::with_default(registry, || {
            tracing::info!(id = %text, error = text, debug = ?text, wait_ms = 5_u64, "said: {text}");
        });
        drop(logging);
        String::from_utf8(read.try_iter().flatten().collect()).unwrap()
    }

    /// Goal: no terminal that shows a log obeys text from outside, and it forges no line. Method:
    /// every control character, and marks that hide or turn text, in each kind of field.
    #[test]
    fn logged_text_is_never_obeyed_and_forges_no_line() {
        let controls = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
        let marks = ['\u{202e}', '\u{2067}', '\u{200f}', '\u{200b}', '\u{feff}', '\u{2028}'];
        for c in controls.chain(marks) {
            let text = format!("a{c}b");
            for format in [LogFormat::Human, LogFormat::Json] {
                let line = logged(&text, format);
                let line = line.strip_suffix('\n').unwrap();
                assert_eq!(visible(line), line, "{c:?}");
            }
            let line = logged(&text, LogFormat::Json);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&line["id"], &line["error"]), (&text.clone().into(), &text.into()));
        }
    }

    #[test]
    fn a_human_readable_line_has_its_fields() {
        let line = logged("x y", LogFormat::Human);
        let (_, line) = line.split_once("INFO ").unwrap();
        assert_eq!(line, "said: x y id=x y error=\"x y\" debug=\"x y\" wait_ms=5\n");
    }

    #[test]
    fn all_lines_are_written_before_the_end() {
        let (to, read) = mpsc::sync_channel(MAX_WAITING);
        let (mut lines, logging) = lines(Pipe(to));
        (0..1_000).for_each(|number| log(&mut lines, number));
        drop(logging);
        assert_eq!(read.try_iter().count(), 1_000);
    }
}
