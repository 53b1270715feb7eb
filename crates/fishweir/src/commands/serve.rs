//! `fishweir serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use fishweir_detect::{DetectorConfig, ScanConfig};
use fishweir_ingest::Ingest;
use fishweir_lake::Lake;
use fishweir_metrics::{Catalog, Costs, Evaluator};
use fishweir_pipeline::{Model, RetentionPlan, RunSummary};
use fishweir_server::{Server, Settings, Site, SiteError};

use crate::cli::ServeArgs;
use crate::commands::{compact, report, retention, run as runs};
use crate::output::say;
use crate::project::Project;

/// Source of events that come over HTTP.
const SOURCE: &str = "fishweir";

pub(crate) async fn run(root: &Path, fixed_us: Option<i64>, args: &ServeArgs, quiet: bool) -> Result<u8> {
    if args.openapi {
        say(&fishweir_server::openapi())?;
        return Ok(0);
    }
    let site = ProjectSite::open(root, fixed_us)?;
    let sql = (!args.no_sql).then_some(args.sql_port);
    let mut settings = settings(&site, args.port, sql)?;
    settings.http = SocketAddr::new(args.host, args.port);
    settings.sql = sql.map(|p| SocketAddr::new(args.host, p));
    settings.watch = !args.no_watch;
    settings.token_always = args.ask_token;
    if args.no_run {
        settings.run_every_s = 0;
    }
    serve(site, settings, quiet).await?;
    Ok(0)
}

/// Returns the settings of a project on loopback.
pub(crate) fn settings(site: &ProjectSite, port: u16, sql_port: Option<u16>) -> Result<Settings> {
    let project = &site.project;
    let c = &project.config.serve;
    Ok(Settings {
        run_every_s: c.run_every_s,
        commit_every_s: c.commit_every_s,
        backlog_bytes: c.backlog_mb << 20,
        body_bytes: c.body_mb.max(1) << 20,
        sql_timeout_s: c.sql_timeout_s,
        sql_rows_max: c.sql_rows_max,
        digest_to: c.digest_to.clone(),
        ..Settings::local(port, sql_port, project.token()?, &project.root)
    })
}

/// Serves until the process is asked to stop, and says where.
pub(crate) async fn serve(site: ProjectSite, settings: Settings, quiet: bool) -> Result<()> {
    site.project.ensure_tables().await?;
    let destinations = site.project.config.destinations.clone();
    let token = site.project.root.join("keys/server.token");
    let guarded = settings.guarded();
    let server = Server::start(Arc::new(site), settings, destinations).await?;
    say(&format!("dashboard: http://{}", server.http_address()?))?;
    if let Some(sql) = server.sql_address() {
        say(&format!("sql: postgresql://fishweir@{sql}/fishweir"))?;
    }
    if !quiet {
        let who = if guarded { "the dashboard and SQL ask for it" } else { "SQL asks for it" };
        eprintln!("token: {} ({who}); Ctrl-C stops", token.display());
    }
    server.run(asked_to_stop()).await?;
    if !quiet {
        eprintln!("stopped; everything acknowledged is kept");
    }
    Ok(())
}

async fn asked_to_stop() {
    let interrupt = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut s) => drop(s.recv().await),
            Err(_) => std::future::pending::<()>().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

/// A project behind the server.
pub(crate) struct ProjectSite {
    project: Project,
    root: PathBuf,
    fixed_us: Option<i64>,
}

impl ProjectSite {
    /// Returns a project; with `fixed_us` its time stands still, as in a world of the past.
    pub(crate) fn open(root: &Path, fixed_us: Option<i64>) -> Result<Self> {
        let now_us = fixed_us.unwrap_or_else(clock);
        Ok(Self { project: Project::open(root, now_us)?, root: root.to_owned(), fixed_us })
    }

    // Time, configuration and definitions as they are now.
    fn now(&self) -> Result<Project> {
        Project::open(&self.root, self.now_us())
    }
}

fn clock() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

// The model graph works on threads of its own: pages are answered meanwhile.
async fn aside<T, F, Fut>(work: F) -> Result<T, SiteError>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T>>,
{
    let done = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("run")
            .enable_all()
            .build()?;
        runtime.block_on(work())
    });
    Ok(done.await??)
}

#[async_trait]
impl Site for ProjectSite {
    fn root(&self) -> &Path {
        &self.root
    }

    fn now_us(&self) -> i64 {
        self.fixed_us.unwrap_or_else(clock)
    }

    fn lake(&self) -> Result<Lake, SiteError> {
        Ok(self.project.lake()?)
    }

    fn catalog(&self) -> Result<Catalog, SiteError> {
        Ok(self.project.readers()?)
    }

    fn door(&self) -> Result<Ingest, SiteError> {
        let project = self.now()?;
        let config = project.ingest_config(project.source(SOURCE)?, false)?;
        let fixed = self.fixed_us;
        let time = Box::new(move || fixed.unwrap_or_else(clock));
        let (lake, ids) = (project.lake()?, project.pseudonyms()?);
        Ok(Ingest::new(lake, config, ids, project.routes()?, project.networks()?, time))
    }

    fn models(&self) -> Result<Vec<Model>, SiteError> {
        Ok(self.project.runner()?.models().to_vec())
    }

    fn costs(&self) -> Costs {
        self.project.config.costs.clone()
    }

    fn detectors(&self) -> (DetectorConfig, ScanConfig) {
        (self.project.config.detector.clone(), self.project.config.scan.clone())
    }

    fn alerts(&self) -> Result<Vec<(String, String)>, SiteError> {
        Ok(self.project.alerts()?)
    }

    async fn evaluator(&self) -> Result<Evaluator, SiteError> {
        Ok(report::evaluator(&self.now()?).await?)
    }

    async fn run_due(&self) -> Result<RunSummary, SiteError> {
        let project = self.now()?;
        let until_us = project.now_us;
        aside(move || async move { runs::compute(&project, until_us, Vec::new(), None, true).await }).await
    }

    async fn compact(&self) -> Result<(), SiteError> {
        let project = self.now()?;
        aside(move || async move { compact::compact(&project, &|_| Ok(())).await }).await
    }

    async fn retention(&self) -> Result<RetentionPlan, SiteError> {
        let project = self.now()?;
        aside(move || async move { Ok(retention::work(&project, false).await?.0) }).await
    }
}
