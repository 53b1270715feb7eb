//! What the server asks of the project it serves.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fishweir_detect::{DetectorConfig, ScanConfig};
use fishweir_ingest::Ingest;
use fishweir_lake::Lake;
use fishweir_metrics::{Catalog, Costs, Evaluator};
use fishweir_pipeline::{Model, RetentionPlan, RunSummary};

/// Why a project did not answer; shown to people as it is.
pub type SiteError = Box<dyn std::error::Error + Send + Sync>;

/// A project as the server sees it. Every call gives the present state.
#[async_trait]
pub trait Site: Send + Sync + 'static {
    /// Returns the project's folder.
    fn root(&self) -> &Path;
    /// Returns the present time, microseconds since the epoch; fixed for a world of the past.
    fn now_us(&self) -> i64;
    /// Returns the lake.
    ///
    /// # Errors
    /// A location that cannot be opened.
    fn lake(&self) -> Result<Lake, SiteError>;
    /// Returns the lake with an engine for queries of readers, apart from that of the model graph.
    ///
    /// # Errors
    /// As [`Self::lake`].
    fn catalog(&self) -> Result<Catalog, SiteError>;
    /// Returns the rules by which events that come over HTTP are read.
    ///
    /// # Errors
    /// Missing keys, a bad configuration.
    fn door(&self) -> Result<Ingest, SiteError>;
    /// Returns every model, SQL and native.
    ///
    /// # Errors
    /// A model that does not load.
    fn models(&self) -> Result<Vec<Model>, SiteError>;
    /// Returns the prices.
    fn costs(&self) -> Costs;
    /// Returns the settings of the detectors.
    fn detectors(&self) -> (DetectorConfig, ScanConfig);
    /// Returns alert rules as file names and YAML texts.
    ///
    /// # Errors
    /// A file that cannot be read.
    fn alerts(&self) -> Result<Vec<(String, String)>, SiteError>;
    /// Returns an evaluator over the lake as it stands.
    ///
    /// # Errors
    /// A lake that cannot be read.
    async fn evaluator(&self) -> Result<Evaluator, SiteError>;
    /// Seals and runs what is due.
    ///
    /// # Errors
    /// A step that fails; another process that is at work.
    async fn run_due(&self) -> Result<RunSummary, SiteError>;
    /// Merges the small files that ingest in short intervals leaves.
    ///
    /// # Errors
    /// As [`Self::run_due`].
    async fn compact(&self) -> Result<(), SiteError>;
    /// Returns what may be deleted and why.
    ///
    /// # Errors
    /// A lake that cannot be read.
    async fn retention(&self) -> Result<RetentionPlan, SiteError>;
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the dashboard and the API; port 0 takes a free one.
    pub http: std::net::SocketAddr,
    /// Address of the SQL endpoint; `None` serves none.
    pub sql: Option<std::net::SocketAddr>,
    /// Token for HTTP and password for SQL.
    pub token: String,
    /// Whether HTTP asks for the token on loopback too.
    pub token_always: bool,
    /// Seconds between two runs of the model graph; 0 never runs it.
    pub run_every_s: u64,
    /// Folder of the durable queue of accepted batches.
    pub spool: PathBuf,
    /// Seconds after which accepted rows are committed to the lake at the latest.
    pub commit_every_s: u64,
    /// Bytes of accepted rows that may wait for a commit; beyond them batches are refused with 429.
    pub backlog_bytes: usize,
    /// Largest body of a request in bytes, compressed.
    pub body_bytes: usize,
    /// Whether live rows are watched by the detectors.
    pub watch: bool,
    /// Seconds a statement of the SQL endpoint may take.
    pub sql_timeout_s: u64,
    /// Destinations of the weekly digest; none sends none.
    pub digest_to: Vec<String>,
    /// Rows a statement of the SQL endpoint may return.
    pub sql_rows_max: usize,
}

impl Settings {
    /// Returns settings for loopback on the given ports.
    #[must_use]
    pub fn local(port: u16, sql_port: Option<u16>, token: String, root: &Path) -> Self {
        let ip = std::net::Ipv4Addr::LOCALHOST;
        Self {
            http: (ip, port).into(),
            sql: sql_port.map(|p| (ip, p).into()),
            token,
            token_always: false,
            run_every_s: 300,
            spool: root.join("spool").join("http"),
            commit_every_s: 5,
            backlog_bytes: 512 << 20,
            body_bytes: 32 << 20,
            watch: true,
            sql_timeout_s: 60,
            digest_to: Vec::new(),
            sql_rows_max: 5_000_000,
        }
    }

    /// Returns whether HTTP asks for the token.
    #[must_use]
    pub fn guarded(&self) -> bool {
        self.token_always || !self.http.ip().is_loopback()
    }
}
