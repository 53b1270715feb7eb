//! What happens by itself: commits, runs of the model graph, fresh snapshots, alerts, the digest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fishweir_metrics::{Audience, DAY_US, Grain, Interval};
use fishweir_report::{ReportRequest, build, markdown};
use tokio::task::JoinHandle;

use crate::app::{App, LastRun};
use crate::pages;

const LOOK_EVERY: Duration = Duration::from_secs(15);
const FLUSH_EVERY: Duration = Duration::from_secs(1);
const STREAMS_EVERY: Duration = Duration::from_secs(30);
/// Runs between two compactions.
const COMPACT_EVERY: u64 = 12;
/// Hour of Monday, UTC, from which the digest of the last week goes out.
const DIGEST_HOUR_US: i64 = 7 * 3_600_000_000;

/// Starts every loop; they end when aborted.
pub(crate) fn start(app: &Arc<App>) -> Vec<JoinHandle<()>> {
    let mut all = vec![
        tokio::spawn(snapshots(Arc::clone(app))),
        tokio::spawn(messages(Arc::clone(app))),
        tokio::spawn(streams(Arc::clone(app))),
    ];
    if app.settings.run_every_s > 0 {
        all.push(tokio::spawn(runs(Arc::clone(app))));
    }
    if let Some(feed) = &app.feed {
        all.push(tokio::spawn(live(Arc::clone(app), feed.said.subscribe())));
    }
    all
}

async fn runs(app: Arc<App>) {
    let every = Duration::from_secs(app.settings.run_every_s);
    loop {
        tokio::time::sleep(every).await;
        run(&app).await;
    }
}

async fn run(app: &Arc<App>) {
    let begun = Instant::now();
    app.runs.busy_since_us.store(app.site.now_us(), Ordering::Relaxed);
    let outcome = app.site.run_due().await.map_err(|e| e.to_string());
    app.runs.busy_since_us.store(0, Ordering::Relaxed);
    let done = app.runs.done.fetch_add(1, Ordering::Relaxed) + 1;
    if let Err(e) = &outcome {
        app.runs.failed.fetch_add(1, Ordering::Relaxed);
        eprintln!("run: {e}");
    }
    if let Ok(mut last) = app.runs.last.lock() {
        *last = Some(LastRun { at_us: app.site.now_us(), took_ms: begun.elapsed().as_millis(), outcome });
    }
    if done.is_multiple_of(COMPACT_EVERY)
        && let Err(e) = app.site.compact().await
    {
        eprintln!("compact: {e}");
    }
}

// A new state of the lake is looked at by the alert rules and its main pages are made before anybody asks.
async fn snapshots(app: Arc<App>) {
    let mut seen = 0;
    loop {
        match app.snapshots.refresh(app.site.as_ref()).await {
            Ok(s) if Arc::as_ptr(&s).addr() != seen => {
                seen = Arc::as_ptr(&s).addr();
                app.alerts.sealed(&s.evaluator, app.site.now_us()).await;
                digest(&app).await;
                pages::warm(&app).await;
            }
            Ok(_) => digest(&app).await,
            Err(e) => eprintln!("the lake cannot be read: {e}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn messages(app: Arc<App>) {
    loop {
        app.alerts.flush(app.site.now_us()).await;
        tokio::time::sleep(FLUSH_EVERY).await;
    }
}

async fn live(app: Arc<App>, mut said: tokio::sync::broadcast::Receiver<fishweir_labels::LiveEvent>) {
    loop {
        match said.recv().await {
            Ok(e) => {
                app.alerts.live(&e, app.site.now_us());
                app.alerts.flush(app.site.now_us()).await;
            }
            Err(tokio::sync::broadcast::error::RecvError::Lagged(n)) => {
                eprintln!("{n} live events were not told")
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

// Streams that brought something since the start and are silent now.
async fn streams(app: Arc<App>) {
    loop {
        tokio::time::sleep(STREAMS_EVERY).await;
        let now_us = app.site.now_us();
        let silent: BTreeMap<String, i64> = app.receiver.last_seen();
        let silent: Vec<(String, i64)> = silent.into_iter().map(|(s, us)| (s, now_us - us)).collect();
        app.alerts.streams(&silent, now_us);
    }
}

/// Sends what managers read about the last whole week, once, from Monday morning on.
async fn digest(app: &Arc<App>) {
    let to = &app.settings.digest_to;
    let Some(s) = app.snapshots.newest().filter(|_| !to.is_empty()) else { return };
    let now_us = app.site.now_us();
    let monday = Grain::Week.floor(now_us);
    let Some(sealed) = s.evaluator.sealed_span("requests") else { return };
    if now_us < monday + DIGEST_HOUR_US || sealed.to_us < monday {
        return;
    }
    let period = Interval::new(Grain::Week.previous(monday), monday);
    let name = chrono::DateTime::from_timestamp_micros(period.from_us)
        .unwrap_or_default()
        .format("%G-W%V")
        .to_string();
    let request = ReportRequest {
        audience: Audience::Executive,
        period_name: name.clone(),
        previous: Interval::new(period.from_us - 7 * DAY_US, period.from_us),
        year_before: Interval::new(period.from_us - 364 * DAY_US, period.to_us - 364 * DAY_US),
        period,
        now_us,
    };
    match build(&s.evaluator, &request).await {
        Ok(report) => app.alerts.digest(&name, to, &report.title, &markdown(&report), now_us),
        Err(e) => eprintln!("digest: {e}"),
    }
}
