//! The input of events: a file or standard input, never more than a bounded part at once.

use std::{
    io::{self, IsTerminal},
    pin::Pin,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};

use crate::cli::failure::Failure;

/// Something to read events from.
pub(super) struct Input {
    name: String,
    reader: Pin<Box<dyn AsyncRead>>,
    /// True if it is typed at a terminal.
    pub(super) is_terminal: bool,
}

/// Opens `file`; `-` is standard input.
pub(super) async fn open(file: &str) -> Result<Input, Failure> {
    if file == "-" {
        let reader = Box::pin(tokio::io::stdin());
        let is_terminal = io::stdin().is_terminal();
        return Ok(Input { name: "standard input".to_owned(), reader, is_terminal });
    }
    let name = format!("`{file}`");
    match tokio::fs::File::open(file).await {
        Ok(opened) => Ok(Input { name, reader: Box::pin(opened), is_terminal: false }),
        Err(source) => Err(Failure::Read { what: name, source }),
    }
}

/// All of it.
pub(super) async fn whole(input: Input, max_bytes: usize) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = input.reader.take(limit).read_to_end(&mut body).await;
    match read {
        Ok(length) if length > max_bytes => Err(Failure::Usage(format!(
            "{} has more than {max_bytes} bytes, the most that an event may have \
             (`worker.max_event_bytes`)",
            input.name
        ))),
        Ok(_) => Ok(body.into()),
        Err(source) => Err(Failure::Read { what: input.name, source }),
    }
}

/// The lines of an input, counted from 1.
pub(super) struct Lines {
    name: String,
    frames: FramedRead<Pin<Box<dyn AsyncRead>>, AnyDelimiterCodec>,
    read: u64,
    /// After an error the frames pause once before they go on with the next line.
    pauses: bool,
}

/// One line.
pub(super) struct Line {
    pub(super) number: u64,
    /// `None`: longer than what is read.
    pub(super) bytes: Option<Bytes>,
}

/// The lines of `input`, those of more than `max_bytes` bytes without their content.
pub(super) fn lines(input: Input, max_bytes: usize) -> Lines {
    let codec = AnyDelimiterCodec::new_with_max_length(vec![b'\n'], Vec::new(), max_bytes);
    let frames = FramedRead::new(input.reader, codec);
    Lines { name: input.name, frames, read: 0, pauses: false }
}

impl Lines {
    /// The next line; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            let bytes = match self.frames.next().await {
                None if self.pauses => {
                    self.pauses = false;
                    continue;
                }
                None => return Ok(None),
                Some(Ok(bytes)) => Some(bytes),
                Some(Err(AnyDelimiterCodecError::MaxChunkLengthExceeded)) => {
                    self.pauses = true;
                    None
                }
                Some(Err(AnyDelimiterCodecError::Io(source))) => {
                    return Err(Failure::Read { what: self.name.clone(), source });
                }
            };
            self.read = self.read.saturating_add(1);
            return Ok(Some(Line { number: self.read, bytes }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &'static str, max_bytes: usize) -> Vec<(u64, Option<String>)> {
        let reader = Box::pin(text.as_bytes());
        let input = Input { name: "test".to_owned(), reader, is_terminal: false };
        let mut lines = lines(input, max_bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            let text = line.bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
            all.push((line.number, text));
        }
        all
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_only_itself() {
        let long = "x".repeat(100_000);
        let text: &'static str = Box::leak(format!("a\n{long}\n\nb\n{long}").into_boxed_str());
        let some = |text: &str| Some(text.to_owned());
        let expected = vec![(1, some("a")), (2, None), (3, some("")), (4, some("b")), (5, None)];
        assert_eq!(read(text, 10).await, expected);
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        assert_eq!(read("a", 10).await, [(1, Some("a".to_owned()))]);
        assert_eq!(read("", 10).await, []);
    }
}
