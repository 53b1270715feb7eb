//! The live loop: accepted requests pass the detectors within seconds, and what they say goes to the
//! pages, the alerts and table `live_incidents`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use fishweir_events::DAY_US;
use fishweir_labels::{
    LiveEvent, LiveRate, LiveRows, LiveWatch, known_clients, live_history, live_incident_row,
    live_incident_table,
};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use crate::site::{Site, SiteError};

/// Batches that may wait for the detectors; more are left out and counted.
const WAITING_MAX: usize = 256;
const ROUTES_SHOWN: usize = 8;
const CLOSED_KEPT: usize = 20;
/// The stream's clock is taken for the present while its last event is this near to the real time.
const PRESENT_US: i64 = 120_000_000;
/// Rates are drawn again this often.
const RATES_EVERY: Duration = Duration::from_secs(1);

/// What the live path knows now.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct LiveState {
    /// Second of the stream, microseconds; `None` before the first request.
    pub(crate) clock_us: Option<i64>,
    /// All requests, then the busiest routes.
    pub(crate) rates: Vec<LiveRate>,
    /// Incidents that are open, the last thing said of each.
    pub(crate) open: Vec<LiveEvent>,
    /// Incidents that closed or were withdrawn lately, the newest first.
    pub(crate) closed: VecDeque<LiveEvent>,
    /// Why nothing is watched.
    pub(crate) trouble: Option<String>,
}

/// Where rows go in, and what comes out.
#[derive(Clone)]
pub(crate) struct Feed {
    rows: mpsc::SyncSender<RecordBatch>,
    pub(crate) state: Arc<RwLock<LiveState>>,
    pub(crate) said: broadcast::Sender<LiveEvent>,
    /// Rows that the detectors did not see because too many waited.
    pub(crate) skipped: Arc<AtomicU64>,
}

impl Feed {
    /// Hands rows over without waiting.
    pub(crate) fn give(&self, rows: RecordBatch) {
        let n = rows.num_rows() as u64;
        if self.rows.try_send(rows).is_err() {
            self.skipped.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> LiveState {
        self.state.read().map(|s| s.clone()).unwrap_or_default()
    }
}

/// Starts the loop on a thread of its own.
///
/// # Errors
/// A thread that cannot be started.
pub(crate) fn start(site: Arc<dyn Site>, handle: Handle) -> Result<Feed, SiteError> {
    let (rows, inbox) = mpsc::sync_channel(WAITING_MAX);
    let (said, _) = broadcast::channel(256);
    let feed = Feed { rows, state: Arc::default(), said: said.clone(), skipped: Arc::default() };
    let mut watch = Loop {
        site,
        handle,
        state: Arc::clone(&feed.state),
        said,
        watch: None,
        day: 0,
        drawn: Instant::now(),
        open: BTreeMap::new(),
        last_event_us: 0,
    };
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch.work(&inbox))?;
    Ok(feed)
}

struct Loop {
    site: Arc<dyn Site>,
    handle: Handle,
    state: Arc<RwLock<LiveState>>,
    said: broadcast::Sender<LiveEvent>,
    watch: Option<LiveWatch>,
    day: i64,
    drawn: Instant,
    open: BTreeMap<String, LiveEvent>,
    last_event_us: i64,
}

impl Loop {
    fn work(&mut self, inbox: &mpsc::Receiver<RecordBatch>) {
        loop {
            match inbox.recv_timeout(Duration::from_millis(500)) {
                Ok(batch) => {
                    if let Err(e) = self.take(&batch) {
                        self.trouble(Some(e.to_string()));
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.idle(),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.drawn.elapsed() >= RATES_EVERY {
                self.draw();
            }
        }
        let events = self.watch.as_mut().map(LiveWatch::finish).unwrap_or_default();
        self.tell(events);
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), SiteError> {
        let rows = LiveRows::of(batch).ok_or("a column of the requests is missing")?;
        for r in rows.order() {
            let hit = rows.hit(r);
            self.last_event_us = self.last_event_us.max(hit.time_us);
            let events = self.ready(hit.time_us)?.push(&hit);
            if !events.is_empty() {
                self.tell(events);
            }
        }
        Ok(())
    }

    // A stream that is silent now must still close what is over.
    fn idle(&mut self) {
        let now_us = chrono::Utc::now().timestamp_micros();
        if (now_us - self.last_event_us).abs() > PRESENT_US {
            return;
        }
        let events = self.watch.as_mut().map(|w| w.advance_to(now_us)).unwrap_or_default();
        self.tell(events);
    }

    // Begun with the first request, whose time says what is history; clients are read anew each day.
    fn ready(&mut self, time_us: i64) -> Result<&mut LiveWatch, SiteError> {
        let day = time_us - time_us.rem_euclid(DAY_US);
        if self.watch.is_none() {
            let (detector, scan) = self.site.detectors();
            let catalog = self.site.catalog()?;
            let history = self.handle.block_on(live_history(&catalog, &detector, &scan, time_us))?;
            self.watch = Some(LiveWatch::new(detector, scan, history));
            self.day = day;
        } else if day > self.day {
            self.day = day;
            let catalog = self.site.catalog()?;
            let known = self.handle.block_on(known_clients(&catalog, day))?;
            if let Some(watch) = self.watch.as_mut().filter(|_| !known.is_empty()) {
                watch.set_known(known);
            }
        }
        self.watch.as_mut().ok_or_else(|| "the watch has not begun".into())
    }

    fn tell(&mut self, events: Vec<LiveEvent>) {
        if events.is_empty() {
            return;
        }
        for e in events {
            let over = matches!(e.event, "close" | "withdrawn");
            if over {
                self.open.remove(&e.incident_id);
            } else {
                self.open.insert(e.incident_id.clone(), e.clone());
            }
            if let Ok(mut s) = self.state.write() {
                s.open = self.open.values().cloned().collect();
                if over {
                    s.closed.push_front(e.clone());
                    s.closed.truncate(CLOSED_KEPT);
                }
            }
            let _ = self.said.send(e.clone());
            if e.event != "update" {
                self.store(e);
            }
        }
        self.draw();
    }

    // What was said live is kept, so that the sealed path can be held against it.
    fn store(&self, e: LiveEvent) {
        let site = Arc::clone(&self.site);
        self.handle.spawn(async move {
            let stored = async {
                let row = live_incident_row(&e)?;
                site.lake()?.table(&live_incident_table()).await?.append(&[row], &[]).await?;
                Ok::<(), SiteError>(())
            };
            if let Err(cause) = stored.await {
                eprintln!("not kept in table `live_incidents`: {cause}");
            }
        });
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        let Some(watch) = &self.watch else { return };
        let (rates, clock_us) = (watch.rates(ROUTES_SHOWN), watch.clock_us());
        if let Ok(mut s) = self.state.write() {
            (s.rates, s.clock_us, s.trouble) = (rates, clock_us, None);
        }
    }

    fn trouble(&self, text: Option<String>) {
        if let Ok(mut s) = self.state.write() {
            s.trouble = text;
        }
    }
}
