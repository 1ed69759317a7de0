//! Tables of text.
//!
//! A row stays one line, so that `grep` finds it and ids can be copied. On a terminal that is too
//! narrow for it, texts and URLs are shortened, ids never; in a pipe nothing is.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use super::{failure::Failure, output::Output};
use homing_domain::report::visible;

/// The judgement that the colour of a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
}

/// Columns that may be shortened: what they hold is in `--json`, and in the page or the command that
/// shows one object.
const SHRINKABLE: [&str; 12] = [
    "CHANGE",
    "DESCRIPTION",
    "HOLDS",
    "LAST OUTCOME",
    "OBJECT",
    "OUTCOME",
    "REASON",
    "TEXT",
    "TOPIC",
    "TOPICS",
    "URL",
    "WHAT HAPPENED",
];
/// No column gets shorter than this.
const MIN_WIDTH: usize = 16;
/// Blanks between two columns.
const GAP: usize = 2;

/// Rows under a header, written all at once.
pub(super) struct Rows {
    header: Vec<String>,
    lines: Vec<(Vec<String>, Option<Tone>)>,
    colours: bool,
    /// Columns of the terminal; `None`: it is none.
    width: Option<usize>,
}

impl Rows {
    pub(super) fn new(output: &Output<'_>, header: &[&str]) -> Self {
        let header = header.iter().map(|name| (*name).to_owned()).collect();
        Self { header, lines: Vec::new(), colours: output.colours(), width: output.width() }
    }

    pub(super) fn add<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| visible(&cell.to_string()).into_owned());
        self.lines.push((cells.collect(), None));
    }

    /// A row whose last cell has a tone.
    pub(super) fn add_toned(&mut self, cells: &[String], tone: Tone) {
        let cells = cells.iter().map(|cell| visible(cell).into_owned()).collect();
        self.lines.push((cells, Some(tone)));
    }

    /// Writes the table; the columns `right` hold numbers.
    pub(super) fn write(mut self, output: &mut Output<'_>, right: &[usize]) -> Result<(), Failure> {
        if self.width.is_some_and(|width| self.fit(width)) {
            output.aside("Texts are shortened to fit the terminal; `| cat` shows all of them.");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(&self.header);
        table.set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
        if self.colours {
            table.enforce_styling();
        }
        for (cells, tone) in &self.lines {
            let last = cells.len().saturating_sub(1);
            let cells = cells.iter().enumerate().map(|(index, text)| {
                let cell = Cell::new(text);
                match tone {
                    Some(Tone::Good) if self.colours && index == last => cell.fg(Color::Green),
                    Some(Tone::Bad) if self.colours && index == last => cell.fg(Color::Red),
                    Some(Tone::Good | Tone::Bad) | None => cell,
                }
            });
            table.add_row(cells.collect::<Vec<_>>());
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for index in right {
            if let Some(column) = table.column_mut(*index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        // Its cells are visible, and its colours are ours.
        output.bytes(format!("{}\n", table.trim_fmt()).as_bytes())
    }

    /// Shortens the widest texts until a row fits `width`, as far as that is possible; true: it did.
    fn fit(&mut self, width: usize) -> bool {
        let mut widths: Vec<_> = self.header.iter().map(|name| length(name)).collect();
        for (cells, _) in &self.lines {
            for (widest, cell) in widths.iter_mut().zip(cells) {
                *widest = length(cell).max(*widest);
            }
        }
        let gaps = GAP.saturating_mul(widths.len().saturating_sub(1));
        let may_shrink = |index: usize, width: usize| {
            let name = self.header.get(index).map(String::as_str).unwrap_or_default();
            width > MIN_WIDTH && SHRINKABLE.contains(&name)
        };
        while widths.iter().sum::<usize>().saturating_add(gaps) > width {
            let shrinkable = widths.iter_mut().enumerate();
            let shrinkable = shrinkable.filter(|(index, width)| may_shrink(*index, **width));
            let Some((_, widest)) = shrinkable.max_by_key(|(_, width)| **width) else { break };
            *widest = widest.saturating_sub(1);
        }
        let mut is_cut = false;
        for (cells, _) in &mut self.lines {
            for (cell, width) in cells.iter_mut().zip(&widths) {
                if let Some(short) = shortened(cell, *width) {
                    *cell = short;
                    is_cut = true;
                }
            }
        }
        is_cut
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The beginning and the end of a text that is longer than `width`; URLs often differ at the end.
fn shortened(text: &str, width: usize) -> Option<String> {
    let length = length(text);
    let is_id = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if length <= width || is_id {
        return None;
    }
    let kept = width.saturating_sub(1);
    let end = kept / 3;
    let begin: String = text.chars().take(kept.saturating_sub(end)).collect();
    let end: String = text.chars().skip(length.saturating_sub(end)).collect();
    Some(format!("{begin}…{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>) -> String {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut stdout, &mut stderr);
        let mut rows = Rows::new(&output, &["ID", "TOPICS", "URL"]);
        rows.width = width;
        let id = "01931f5a-9c4e-7000-8000-0123456789ab";
        rows.add([id, "order.paid", "https://example.com/a/very/long/path/for/tenant/7"]);
        rows.add([id, "refund", "https://example.com/hook"]);
        rows.write(&mut output, &[]).unwrap();
        String::from_utf8(stdout).unwrap()
    }

    #[test]
    fn a_terminal_that_is_narrow_gets_shorter_texts_and_whole_ids() {
        insta::assert_snapshot!(table(None), @"
        ID                                    TOPICS      URL
        01931f5a-9c4e-7000-8000-0123456789ab  order.paid  https://example.com/a/very/long/path/for/tenant/7
        01931f5a-9c4e-7000-8000-0123456789ab  refund      https://example.com/hook
        ");
        assert_eq!(table(Some(200)), table(None));
        insta::assert_snapshot!(table(Some(80)), @"
        ID                                    TOPICS      URL
        01931f5a-9c4e-7000-8000-0123456789ab  order.paid  https://example.com/…/tenant/7
        01931f5a-9c4e-7000-8000-0123456789ab  refund      https://example.com/hook
        ");
        // Not narrower than that: the terminal breaks the line.
        let narrow = table(Some(20));
        assert!(narrow.contains("01931f5a-9c4e-7000-8000-0123456789ab  "), "{narrow}");
        assert!(narrow.contains('…'), "{narrow}");
    }
}
