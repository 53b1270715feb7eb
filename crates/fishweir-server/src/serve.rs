//! Opening the ports, starting the loops, stopping without losing what was promised.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::alert_rules::{Destination, load_alerts};
use crate::alerts::Alerts;
use crate::app::App;
use crate::outbox::Outbox;
use crate::receive::Receiver;
use crate::schedule;
use crate::site::{Settings, Site, SiteError};
use crate::{http, listen, sql, watch};

/// Open connections may finish their answers this long after a stop.
const GRACE: Duration = Duration::from_secs(10);

/// A server that cannot start, or that stopped on its own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A port that cannot be opened.
    #[error(
        "cannot listen on {address}: {cause}\nhint: is another server at work there? choose another --port or --sql-port"
    )]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// The project does not answer.
    #[error("{0}")]
    Site(SiteError),
    /// The server ended.
    #[error("the server stopped: {0}")]
    Stopped(std::io::Error),
}

impl From<SiteError> for ServeError {
    fn from(e: SiteError) -> Self {
        Self::Site(e)
    }
}

/// A server whose ports are open.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    sql: Option<TcpListener>,
}

impl Server {
    /// Returns a server with open ports and everything that could fail at the start done.
    ///
    /// # Errors
    /// A port in use, alert rules that do not load, a queue on disk that cannot be read.
    pub async fn start(
        site: Arc<dyn Site>,
        settings: Settings,
        destinations: Vec<Destination>,
    ) -> Result<Self, ServeError> {
        let listen = |address: SocketAddr| async move {
            TcpListener::bind(address).await.map_err(|cause| ServeError::Listen { address, cause })
        };
        let listener = listen(settings.http).await?;
        let sql = match settings.sql {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let folder = settings.spool.with_file_name("alerts");
        let rules = load_alerts(&site.alerts()?, &destinations).map_err(|e| ServeError::Site(e.into()))?;
        let outbox =
            Outbox::open(&folder.join("outbox"), destinations).map_err(|e| ServeError::Site(e.into()))?;
        let alerts = Alerts::open(&folder, rules, outbox).map_err(|e| ServeError::Site(e.into()))?;
        let handle = tokio::runtime::Handle::current();
        let feed = if settings.watch { Some(watch::start(Arc::clone(&site), handle)?) } else { None };
        let receiver = Receiver::open(Arc::clone(&site), &settings, feed.clone())?;
        let app = App::new(site, settings, Arc::new(receiver), feed, Arc::new(alerts));
        Ok(Self { app: Arc::new(app), listener, sql })
    }

    /// Returns the address of the dashboard.
    ///
    /// # Errors
    /// Never in practice: the port is open.
    pub fn http_address(&self) -> Result<SocketAddr, ServeError> {
        self.listener.local_addr().map_err(ServeError::Stopped)
    }

    /// Returns the address of the SQL endpoint.
    #[must_use]
    pub fn sql_address(&self) -> Option<SocketAddr> {
        self.sql.as_ref().and_then(|l| l.local_addr().ok())
    }

    /// Serves until `stop` is over: then no new batch is taken, answers may finish, and what was
    /// acknowledged is committed.
    ///
    /// # Errors
    /// A port that is not open any more.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let Self { app, listener, sql } = self;
        let address = listener.local_addr().map_err(ServeError::Stopped)?;
        app.alerts.set_base(&format!("http://{address}"));
        let every = Duration::from_secs(app.settings.commit_every_s.max(1));
        let delivering = tokio::spawn(Arc::clone(&app.receiver).deliver(every));
        let mut loops: Vec<JoinHandle<()>> = schedule::start(&app);
        if let Some(listener) = sql {
            loops.push(tokio::spawn(sql::serve(Arc::clone(&app), listener)));
        }
        let (halt, halted) = tokio::sync::watch::channel(false);
        let receiver = Arc::clone(&app.receiver);
        tokio::spawn(async move {
            stop.await;
            receiver.closing.store(true, Ordering::Relaxed);
            let _ = halt.send(true);
        });
        let mut wait = halted;
        let stopped = async move {
            let _ = wait.wait_for(|h| *h).await;
        };
        listen::serve(listener, http::router(Arc::clone(&app)), stopped, GRACE).await;
        app.receiver.closing.store(true, Ordering::Relaxed);
        app.receiver.hurry();
        loops.iter().for_each(JoinHandle::abort);
        let _ = tokio::time::timeout(GRACE * 3, delivering).await;
        Ok(())
    }
}
