//! Output of a command: answers go to standard output, everything else to standard error.
//!
//! Text from outside (bodies, ids, descriptions, answers of endpoints, names) is in everything that
//! commands print, so all of it is made [`visible`] here: no terminal obeys it, and none of it can
//! be taken for a line of homing's. Only [`Output::bytes`] writes its argument unchanged.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use clap::builder::styling::AnsiColor;
use serde::Serialize;
use serde_json::json;

use super::{failure::Failure, table::Tone};
use homing_domain::report::{visible, visible_json, visible_lines};

/// The streams of a command. Commands write to nothing else, so tests see all output.
pub struct Output<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    /// One JSON document instead of text.
    pub(super) json: bool,
    terminals: Terminals,
    colours: bool,
}

/// The standard streams that are terminals.
#[derive(Clone, Copy, Debug, Default)]
struct Terminals {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl<'a> Output<'a> {
    /// Writes to these, neither of which is a terminal.
    pub fn new(stdout: &'a mut dyn Write, stderr: &'a mut dyn Write) -> Self {
        Self { stdout, stderr, json: false, terminals: Terminals::default(), colours: false }
    }

    /// Writes to these, which are the standard streams of the process.
    ///
    /// Colours are for terminals, and not where `NO_COLOR` is set. Source: no-color.org.
    pub fn of_process(stdout: &'a mut dyn Write, stderr: &'a mut dyn Write) -> Self {
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = terminals.stdout && !refused;
        Self { stdout, stderr, json: false, terminals, colours }
    }

    /// True if answers may be coloured.
    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    /// Columns of the terminal that answers go to; `None`: they go elsewhere.
    pub(super) fn width(&self) -> Option<usize> {
        let width = self.terminals.stdout.then(|| comfy_table::Table::new().width()).flatten();
        width.map(usize::from).filter(|width| *width > 0)
    }

    /// True if progress can be shown.
    pub(super) fn shows_progress(&self) -> bool {
        self.terminals.stderr
    }

    /// True if a question can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.terminals.stdin && self.terminals.stderr
    }

    /// One line of the answer.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{}", visible(&text.to_string())).map_err(Failure::Output)
    }

    /// One line of the answer, of which the first part shows by its colour if all is good.
    pub(super) fn toned_line(
        &mut self,
        first: &str,
        tone: Tone,
        rest: &str,
    ) -> Result<(), Failure> {
        let (first, rest) = (visible(first), visible(rest));
        if !self.colours {
            return self.bytes(format!("{first} {rest}\n").as_bytes());
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
        };
        self.bytes(format!("{style}{first}{style:#} {rest}\n").as_bytes())
    }

    /// Several lines of the answer, in a text of ours.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(visible_lines(text).as_bytes())
    }

    /// Text from outside, line by line and indented, so that no line can be taken for one of
    /// homing's.
    pub(super) fn quote(&mut self, text: &str) -> Result<(), Failure> {
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.text(&format!("  {line}\n"))?;
        }
        Ok(())
    }

    /// A part of the answer, unchanged: raw output on request, and text that is visible already.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()).map_err(Failure::Output)
    }

    /// The whole answer, for programs.
    pub(super) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Output(io::Error::other(error)))?;
        writeln!(self.stdout, "{}", visible_json(&text)).map_err(Failure::Output)
    }

    /// One of many answers, on one line, for programs.
    pub(super) fn line_of_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::Output(io::Error::other(error)))?;
        self.bytes(format!("{}\n", visible_json(&text)).as_bytes())
    }

    /// Collects into `page` what would be written here.
    pub(super) fn page<'b>(&'b mut self, page: &'b mut dyn Write) -> Output<'b> {
        Output {
            stdout: page,
            stderr: &mut *self.stderr,
            json: self.json,
            terminals: self.terminals,
            colours: self.colours,
        }
    }

    /// Replaces the page before by `page`, without flickering; appends it where there is no
    /// terminal.
    ///
    /// Source: ECMA-48, 8.3.39 and 8.3.41: `CSI H` is the first place of the screen, `CSI K` and
    /// `CSI J` erase to the end of the line and of the screen.
    pub(super) fn replace_page(&mut self, page: &str) -> Result<(), Failure> {
        if !self.terminals.stdout {
            return self.bytes(format!("{page}\n").as_bytes());
        }
        let lines = page.replace('\n', "\x1b[K\n");
        self.bytes(format!("\x1b[H{lines}\x1b[J").as_bytes())
    }

    /// The reason why the command failed, on standard error: one line of text, or of JSON with the
    /// members that problems of the API have.
    pub(super) fn failed(&mut self, detail: &str, exit: u8) {
        if self.json {
            let document = json!({ "detail": detail, "exit": exit }).to_string();
            drop(writeln!(self.stderr, "{}", visible_json(&document)));
        } else {
            self.notice(detail);
        }
    }

    /// One line on standard error: an error, or what is not part of the answer.
    pub(super) fn notice(&mut self, text: impl Display) {
        // Where this cannot be written, there is no other place to report to.
        drop(writeln!(self.stderr, "homing: {}", visible(&text.to_string())));
    }

    /// One line on standard error, without the name of the program.
    pub(super) fn aside(&mut self, text: impl Display) {
        drop(writeln!(self.stderr, "{}", visible(&text.to_string())));
    }

    /// Below a page of the attempt log: what is missing, what else a reader must know, and where the
    /// next page begins.
    pub(super) fn end_of_page(
        &mut self,
        gaps: &[impl Display],
        notes: &[String],
        next: Option<impl Display>,
    ) {
        for gap in gaps {
            self.aside(format_args!("Missing: {gap}."));
        }
        for note in notes {
            self.aside(format_args!("Note: {note}."));
        }
        if let Some(next) = next {
            self.aside(format_args!("There are more: --after {next}"));
        }
    }

    /// Asks a question that is answered with yes or, by anything else, with no.
    pub(super) fn ask(&mut self, question: impl Display) -> Result<bool, Failure> {
        write!(self.stderr, "{} [y/N] ", visible(&question.to_string()))
            .and_then(|()| self.stderr.flush())
            .map_err(Failure::Output)?;
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|source| Failure::Read { what: "the answer".to_owned(), source })?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table::Rows;

    /// Goal: no terminal obeys text from outside, and it forges no line, whichever method writes
    /// it. Method: every control character, and marks that hide or turn text, with each method.
    #[test]
    fn everything_that_is_written_is_visible() {
        let controls = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32);
        let marks = ['\u{202e}', '\u{2067}', '\u{200f}', '\u{200b}', '\u{feff}', '\u{2028}'];
        for c in controls.chain(marks) {
            let text = format!("a{c}b");
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut stdout, &mut stderr);
            output.line(&text).unwrap();
            output.toned_line(&text, Tone::Bad, &text).unwrap();
            output.quote(&text).unwrap();
            output.document(&[&text]).unwrap();
            output.line_of_json(&[&text]).unwrap();
            let mut rows = Rows::new(&output, &["HEADER"]);
            rows.add([&text]);
            rows.add_toned(std::slice::from_ref(&text), Tone::Bad);
            rows.write(&mut output, &[]).unwrap();
            output.notice(&text);
            output.failed(&text, 1);
            output.json = true;
            output.failed(&text, 1);
            output.aside(&text);
            let shown = String::from_utf8([stdout, stderr].concat()).unwrap();
            let quoted = if c == '\n' { 2 } else { 1 };
            assert_eq!(shown.lines().count(), 13 + quoted, "{c:?}: {shown}");
            let obeyed =
                |c: char| homing_domain::report::visible_lines(&c.to_string()) != c.to_string();
            assert!(!shown.contains(obeyed), "{c:?}: {shown:?}");
            assert!(!shown.contains("\nb"), "{c:?}: {shown:?}");
        }
    }
}
