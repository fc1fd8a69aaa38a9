//! How far a run is, on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sentor_files::Progress;

/// A bar with rows a second and the time that is left; a spinner for a stream, whose length is unknown.
pub(super) struct Bar {
    inner: ProgressBar,
    bytes: Progress,
    counts_rows: bool,
    started: Instant,
}

impl Bar {
    /// Counts bytes of a known length, or rows of a known number.
    pub(super) fn new(is_shown: bool, bytes: Progress, length: Option<u64>, rows: Option<u64>) -> Self {
        let bar =
            if is_shown { ProgressBar::new(rows.or(length).unwrap_or(0)) } else { ProgressBar::hidden() };
        let template = if rows.or(length).is_some() {
            "{bar:30} {percent}%, {msg}, {elapsed}, {eta} left"
        } else {
            "{spinner} {msg}, {elapsed}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bar.with_style(style).with_message("0 documents");
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { inner: bar, bytes, counts_rows: rows.is_some(), started: Instant::now() }
    }

    /// Shows what is done: `documents` in this run, and the number of the last row.
    pub(super) fn show(&self, documents: u64, row: u64, bad_rows: u64) {
        let rate = documents as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let bad = if bad_rows == 0 { String::new() } else { format!(", {bad_rows} bad") };
        self.inner.set_message(format!("{documents} documents{bad}, {rate:.0} a second"));
        self.inner.set_position(if self.counts_rows { row } else { self.bytes.bytes() });
    }

    /// Prints a line above the bar.
    pub(super) fn print(&self, line: &str) {
        self.inner.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn end(&self) {
        self.inner.finish_and_clear();
    }

    #[cfg(test)]
    pub(super) fn hidden() -> Self {
        Self::new(false, Progress::default(), None, None)
    }
}
