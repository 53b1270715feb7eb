//! Progress bars on stderr; silent when stderr is no terminal or `--quiet` is given.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fishweir_ingest::{FileReport, FileStatus, Progress};
use fishweir_pipeline::RunProgress;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

fn target(quiet: bool) -> ProgressDrawTarget {
    if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

/// Bars of `ingest`.
pub(crate) struct IngestBars {
    bars: MultiProgress,
    current: Mutex<ProgressBar>,
}

impl IngestBars {
    pub(crate) fn new(quiet: bool) -> Self {
        let bars = MultiProgress::with_draw_target(target(quiet));
        Self { bars, current: Mutex::new(ProgressBar::hidden()) }
    }

    fn with(&self, f: impl FnOnce(&mut ProgressBar)) {
        if let Ok(mut bar) = self.current.lock() {
            f(&mut bar);
        }
    }
}

impl Progress for IngestBars {
    fn begin(&self, file: &str, size_bytes: u64) {
        let bar = if size_bytes == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(size_bytes) };
        let form = if size_bytes == 0 {
            "{msg} {bytes} {bytes_per_sec}"
        } else {
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}"
        };
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        bar.set_message(file.to_owned());
        self.with(|current| *current = self.bars.add(bar));
    }

    fn advance(&self, bytes: u64, _rows: u64) {
        self.with(|bar| bar.set_position(bytes));
    }

    fn end(&self, report: &FileReport) {
        self.with(|bar| bar.finish_and_clear());
        if report.status == FileStatus::Failed {
            let cause = report.error.as_deref().unwrap_or("failed");
            let _ = self.bars.println(format!("error: {cause}"));
            if self.bars.is_hidden() {
                eprintln!("error: {cause}");
            }
        }
    }
}

/// Bars of `run`.
pub(crate) struct RunBars {
    bars: MultiProgress,
    of: Mutex<HashMap<String, ProgressBar>>,
    took: Mutex<HashMap<String, (Instant, Duration)>>,
}

impl RunBars {
    pub(crate) fn new(quiet: bool) -> Self {
        let bars = MultiProgress::with_draw_target(target(quiet));
        Self { bars, of: Mutex::default(), took: Mutex::default() }
    }

    /// Returns how long each model took from its plan to its last step, the slowest first. Models run side by side.
    pub(crate) fn timings(&self) -> Vec<(String, Duration)> {
        let took = self.took.lock().map(|t| t.clone()).unwrap_or_default();
        let mut all: Vec<(String, Duration)> = took.into_iter().map(|(m, (_, d))| (m, d)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

impl RunProgress for RunBars {
    fn plan(&self, model: &str, steps: usize) {
        if steps == 0 {
            return;
        }
        if let Ok(mut took) = self.took.lock() {
            took.insert(model.to_owned(), (Instant::now(), Duration::ZERO));
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} eta {eta}") {
            bar.set_style(style);
        }
        bar.set_message(model.to_owned());
        if let Ok(mut of) = self.of.lock() {
            of.insert(model.to_owned(), self.bars.add(bar));
        }
    }

    fn step(&self, model: &str) {
        if let Ok(mut took) = self.took.lock()
            && let Some((since, length)) = took.get_mut(model)
        {
            *length = since.elapsed();
        }
        if let Ok(of) = self.of.lock()
            && let Some(bar) = of.get(model)
        {
            bar.inc(1);
            if bar.length().is_some_and(|n| bar.position() >= n) {
                bar.finish_and_clear();
            }
        }
    }
}
