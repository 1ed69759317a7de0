//! homing and the bare loops, which take turns.

use crate::{
    bare::Library,
    report::{Figures, Row},
};

/// The one that delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Homing,
    Bare(Library),
}

const ALL: [By; 3] = [By::Homing, By::Bare(Library::Reqwest), By::Bare(Library::Hyper)];

impl By {
    /// All of them; each is the first in every third round.
    pub(crate) fn in_turns(round: usize) -> impl Iterator<Item = Self> {
        ALL.into_iter().cycle().skip(round % ALL.len()).take(ALL.len())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Homing => "homing",
            Self::Bare(library) => library.name(),
        }
    }
}

/// The figures of all rounds.
#[derive(Default)]
pub(crate) struct Rounds(Vec<(By, Figures)>);

impl Rounds {
    pub(crate) fn add(&mut self, by: By, figures: Figures) {
        self.0.push((by, figures));
    }

    fn of(&self, by: By) -> Vec<Figures> {
        let of_it = self.0.iter().filter(|(other, _)| *other == by);
        of_it.map(|(_, figures)| figures.clone()).collect()
    }

    /// A row for each; the first is homing's, with its ratios of the `compared` figures to the
    /// others.
    pub(crate) fn rows(
        &self,
        scenario: &'static str,
        case: &str,
        compared: &[&'static str],
    ) -> Vec<Row> {
        let (homing, mut rows) = (self.of(By::Homing), Vec::new());
        let mut first = Row::new(scenario, case, By::Homing.name(), &homing);
        for by in ALL.into_iter().filter(|by| *by != By::Homing) {
            let others = self.of(by);
            for figure in compared {
                first = first.compared(figure, &homing, (by.name(), &others));
            }
            rows.push(Row::new(scenario, case, by.name(), &others));
        }
        rows.insert(0, first);
        rows
    }
}
