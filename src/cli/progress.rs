//! Progress of a long command, on standard error if that is a terminal.

use std::{
    fmt::{Display, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::Output;
use homing_domain::report::visible;

/// A bar or a spinner, or nothing.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Counts without a known end.
    pub(super) fn counting(output: &Output<'_>, what: &str) -> Self {
        let style = format!("{{spinner}} {{human_pos}} {what}, {{rate}}");
        Self::new(output, &style)
    }

    /// Counts towards an end that is set later.
    pub(super) fn scanning(output: &Output<'_>, what: &str) -> Self {
        let style = format!("{{bar:40}} {{human_pos}}/{{human_len}} {what}, {{rate}} {{msg}}");
        Self::new(output, &style)
    }

    fn new(output: &Output<'_>, style: &str) -> Self {
        if !output.shows_progress() || output.json {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.with_key("rate", rate));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(super) fn one_more(&self) {
        self.0.inc(1);
    }

    pub(super) fn at(&self, position: u32) {
        self.0.set_position(u64::from(position));
    }

    /// As [`at`](Self::at), of so many, with a message beside it.
    pub(super) fn at_of(&self, position: u32, of: u32, message: &str) {
        self.0.set_length(u64::from(of));
        self.0.set_message(visible(message).into_owned());
        self.at(position);
    }

    /// One line above the bar.
    pub(super) fn notice(&self, output: &mut Output<'_>, text: impl Display) {
        self.0.suspend(|| output.notice(text));
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Fractions of an event per second mean nothing.
fn rate(state: &ProgressState, text: &mut dyn Write) {
    // A rate that cannot be written is left out.
    write!(text, "{:.0}/s", state.per_sec()).unwrap_or_default();
}
