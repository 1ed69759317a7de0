//! Tables of text.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::{failure::Failure, output::Output};
use homing_domain::report::visible;

/// The judgement that the colour of a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
}

/// Rows under a header, written all at once.
pub(super) struct Rows {
    table: Table,
    colours: bool,
}

impl Rows {
    pub(super) fn new(output: &Output<'_>, header: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header.iter().copied());
        // A row stays one line, however narrow the terminal: ids can be copied, `grep` finds them.
        table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
        if output.colours() {
            table.enforce_styling();
        }
        Self { table, colours: output.colours() }
    }

    pub(super) fn add<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table.add_row(cells.into_iter().map(|cell| Cell::new(visible(&cell.to_string()))));
    }

    /// A row whose last cell has a tone.
    pub(super) fn add_toned(&mut self, cells: &[String], tone: Tone) {
        let last = cells.len().saturating_sub(1);
        let cells = cells.iter().enumerate().map(|(index, text)| {
            let cell = Cell::new(visible(text));
            match tone {
                Tone::Good if self.colours && index == last => cell.fg(Color::Green),
                Tone::Bad if self.colours && index == last => cell.fg(Color::Red),
                Tone::Good | Tone::Bad => cell,
            }
        });
        let cells: Vec<_> = cells.collect();
        self.table.add_row(cells);
    }

    /// Writes the table; the columns `right` hold numbers.
    pub(super) fn write(mut self, output: &mut Output<'_>, right: &[usize]) -> Result<(), Failure> {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for index in right {
            if let Some(column) = self.table.column_mut(*index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Its cells are visible, and its colours are ours.
        output.bytes(format!("{}\n", self.table.trim_fmt()).as_bytes())
    }
}
