//! What every handler shares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fishweir_pipeline::RunSummary;

use crate::alerts::Alerts;
use crate::problem::Problem;
use crate::receive::Receiver;
use crate::site::{Settings, Site};
use crate::snapshot::{Snapshot, Snapshots};
use crate::watch::Feed;

/// Pages kept per snapshot.
const PAGES_MAX: usize = 256;

/// State of the server.
pub(crate) struct App {
    pub(crate) site: Arc<dyn Site>,
    pub(crate) settings: Settings,
    pub(crate) snapshots: Snapshots,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) feed: Option<Feed>,
    pub(crate) alerts: Arc<Alerts>,
    pub(crate) runs: Runs,
    pub(crate) started: Instant,
    pub(crate) traffic: Traffic,
    pages: Mutex<Pages>,
}

/// What the schedule did.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) last: Mutex<Option<LastRun>>,
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) busy_since_us: AtomicI64,
}

/// The last run of the model graph.
#[derive(Clone, Debug)]
pub(crate) struct LastRun {
    pub(crate) at_us: i64,
    pub(crate) took_ms: u128,
    pub(crate) outcome: Result<RunSummary, String>,
}

/// Answers given, for `/metrics`.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) answers: [AtomicU64; 6],
    pub(crate) micros: AtomicU64,
}

#[derive(Default)]
struct Pages {
    of: usize,
    by_key: HashMap<String, Arc<str>>,
}

impl App {
    pub(crate) fn new(
        site: Arc<dyn Site>,
        settings: Settings,
        receiver: Arc<Receiver>,
        feed: Option<Feed>,
        alerts: Arc<Alerts>,
    ) -> Self {
        Self {
            site,
            settings,
            snapshots: Snapshots::new(),
            receiver,
            feed,
            alerts,
            runs: Runs::default(),
            started: Instant::now(),
            traffic: Traffic::default(),
            pages: Mutex::default(),
        }
    }

    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        Ok(self.snapshots.get(self.site.as_ref()).await?)
    }

    /// Returns a page of a snapshot that was rendered before.
    pub(crate) fn page(&self, snapshot: &Arc<Snapshot>, key: &str) -> Option<Arc<str>> {
        let pages = self.pages.lock().ok()?;
        (pages.of == Arc::as_ptr(snapshot).addr()).then(|| pages.by_key.get(key).cloned()).flatten()
    }

    /// Keeps a page; those of older snapshots go.
    pub(crate) fn keep(&self, snapshot: &Arc<Snapshot>, key: &str, page: &Arc<str>) {
        let Ok(mut pages) = self.pages.lock() else { return };
        let of = Arc::as_ptr(snapshot).addr();
        if pages.of != of || pages.by_key.len() >= PAGES_MAX {
            *pages = Pages { of, by_key: HashMap::new() };
        }
        pages.by_key.insert(key.to_owned(), Arc::clone(page));
    }

    pub(crate) fn count(&self, status: u16, took: std::time::Duration) {
        let class = usize::from(status / 100).min(5);
        self.traffic.answers[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.traffic.micros.fetch_add(micros, Ordering::Relaxed);
    }
}
