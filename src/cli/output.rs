//! Where a command writes: answers to standard output, everything else to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use serde::Serialize;
use serde_json::{Map, Value};

use super::failure::Failure;

/// What a command may write to. Commands know no other way, so tests see all they say.
pub struct Output<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    /// One JSON document instead of text for people.
    pub(super) json: bool,
    terminals: Terminals,
    colours: bool,
}

/// Where a person sits, besides the answer.
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

    /// Whether answers may be coloured.
    pub(super) fn colours(&self) -> bool {
        self.colours
    }

    /// Whether progress can be shown.
    pub(super) fn shows_progress(&self) -> bool {
        self.terminals.stderr
    }

    /// Whether somebody can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.terminals.stdin && self.terminals.stderr
    }

    /// One line of the answer.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(Failure::Output)
    }

    /// A part of the answer, as it is.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// A part of the answer, as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()).map_err(Failure::Output)
    }

    /// The whole answer, for programs.
    pub(super) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Output(io::Error::other(error)))?;
        self.line(text)
    }

    /// One of many answers, on one line, for programs.
    pub(super) fn line_of_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::Output(io::Error::other(error)))?;
        self.text(&format!("{text}\n"))
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

    /// Shows `page` in place of the one before, without flickering; where nobody sits, behind it.
    ///
    /// Source: ECMA-48, 8.3.39 and 8.3.41: `CSI H` is the first place of the screen, `CSI K` and
    /// `CSI J` erase to the end of the line and of the screen.
    pub(super) fn replace_page(&mut self, page: &str) -> Result<(), Failure> {
        if !self.terminals.stdout {
            return self.text(&format!("{page}\n"));
        }
        let lines = page.replace('\n', "\x1b[K\n");
        self.text(&format!("\x1b[H{lines}\x1b[J"))
    }

    /// One line to the person at the terminal: an error, or what is not part of the answer.
    pub(super) fn tell(&mut self, text: impl Display) {
        // Nobody is left to be told where this cannot be written.
        drop(writeln!(self.stderr, "homing: {text}"));
    }

    /// Several lines to the person at the terminal, as they are.
    pub(super) fn aside(&mut self, text: impl Display) {
        drop(writeln!(self.stderr, "{text}"));
    }

    /// Asks a question that is answered with yes or, by anything else, with no.
    pub(super) fn ask(&mut self, question: impl Display) -> Result<bool, Failure> {
        write!(self.stderr, "{question} [y/N] ")
            .and_then(|()| self.stderr.flush())
            .map_err(Failure::Output)?;
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|source| Failure::Read { what: "the answer".to_owned(), source })?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// What `value` is for programs, for what is answered beside it to be added.
pub(super) fn fields_of(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}
