//! The state of the lake that pages and the API answer from: made in the background, swapped whole, so
//! that a reader never waits for a writer.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use fishweir_metrics::Evaluator;

use crate::site::{Site, SiteError};

/// Tables whose versions say that what pages show has changed.
const TOLD_BY: [&str; 5] = ["model_intervals", "certificates", "notes", "verdicts", "live_incidents"];

/// One state of the lake.
pub(crate) struct Snapshot {
    pub(crate) evaluator: Evaluator,
    /// When it was made, microseconds.
    pub(crate) made_us: i64,
    versions: BTreeMap<&'static str, i64>,
}

/// The newest snapshot.
pub(crate) struct Snapshots {
    current: RwLock<Option<Arc<Snapshot>>>,
    refreshing: tokio::sync::Mutex<()>,
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self { current: RwLock::new(None), refreshing: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn newest(&self) -> Option<Arc<Snapshot>> {
        self.current.read().ok().and_then(|c| c.clone())
    }

    /// Returns the newest snapshot, made now when there is none.
    pub(crate) async fn get(&self, site: &dyn Site) -> Result<Arc<Snapshot>, SiteError> {
        match self.newest() {
            Some(s) => Ok(s),
            None => self.refresh(site).await,
        }
    }

    /// Makes a new snapshot when the tables moved; returns the newest.
    pub(crate) async fn refresh(&self, site: &dyn Site) -> Result<Arc<Snapshot>, SiteError> {
        let _one = self.refreshing.lock().await;
        let versions = versions(site).await?;
        if let Some(s) = self.newest().filter(|s| s.versions == versions) {
            return Ok(s);
        }
        let evaluator = site.evaluator().await?;
        let snapshot = Arc::new(Snapshot { evaluator, made_us: site.now_us(), versions });
        if let Ok(mut current) = self.current.write() {
            *current = Some(Arc::clone(&snapshot));
        }
        Ok(snapshot)
    }
}

async fn versions(site: &dyn Site) -> Result<BTreeMap<&'static str, i64>, SiteError> {
    let lake = site.lake()?;
    let mut out = BTreeMap::new();
    for name in TOLD_BY {
        if let Some(table) = lake.existing(name).await? {
            out.insert(name, table.version());
        }
    }
    Ok(out)
}
