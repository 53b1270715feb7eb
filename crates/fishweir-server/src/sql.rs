//! SQL over the Postgres protocol: the tables of the lake for everybody's tools, to read only.

mod compat;
mod limits;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::DfSessionService;
use datafusion_postgres::arrow_pg::datatypes::df;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::hooks::{HookClient, QueryHook};
use datafusion_postgres::pgwire;
use pgwire::api::auth::sasl::SASLAuthStartupHandler;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler};
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::portal::Format;
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{Response, Tag};
use pgwire::api::{ClientInfo, ConnectionManager, PgWireServerHandlers};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::tokio::process_socket;
use pgwire::types::format::FormatOptions;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::guard;
use crate::site::SiteError;
use limits::LimitedPlanner;
use schema::{InformationSchema, LakeSchema};

/// The only user there is.
pub(crate) const USER: &str = "fishweir";
const CATALOG: &str = "fishweir";
const SCHEMA: &str = "public";
/// Clients at a time.
const CLIENTS_MAX: usize = 64;
const VERSION: &str = "16.6";

/// Serves statements until aborted.
pub(crate) async fn serve(app: Arc<App>, listener: TcpListener) {
    let handlers = match session(&app).map(|s| Handlers::new(Arc::new(s), &app.settings.token)) {
        Ok(Ok(handlers)) => Arc::new(handlers),
        Ok(Err(e)) | Err(e) => {
            eprintln!("SQL is not served: {e}");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(_) => {
                // Out of file handles, for instance: others will close theirs.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let handlers = Arc::clone(&handlers);
        tokio::spawn(async move {
            let _place = place;
            // A client that breaks off is no business of ours.
            let _ = process_socket(socket, None, handlers).await;
        });
    }
}

/// Returns a session over the lake as it is at each statement, with our functions and those that
/// Postgres clients ask for.
fn session(app: &Arc<App>) -> Result<SessionContext, SiteError> {
    let bare = app.site.catalog()?.bare_session()?;
    let limits = LimitedPlanner {
        longest: Duration::from_secs(app.settings.sql_timeout_s.max(1)),
        rows_max: app.settings.sql_rows_max,
    };
    let config = bare
        .state()
        .config()
        .clone()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        // Ours shows Postgres names of types.
        .with_information_schema(false);
    let state = SessionStateBuilder::new_from_existing(bare.state())
        .with_config(config)
        .with_query_planner(Arc::new(limits))
        .build();
    let context = SessionContext::new_with_state(state);
    let lake = Arc::new(LakeSchema::new(Arc::clone(&app.site)));
    let catalog = Arc::new(MemoryCatalogProvider::new());
    catalog.register_schema("information_schema", Arc::new(InformationSchema::new(Arc::clone(&lake))))?;
    catalog.register_schema(SCHEMA, lake)?;
    context.register_catalog(CATALOG, catalog);
    setup_pg_catalog(&context, CATALOG, EmptyContextProvider).map_err(|e| e.to_string())?;
    let version = format!("PostgreSQL {VERSION} (Fishweir {})", env!("CARGO_PKG_VERSION"));
    for name in ["version", "pg_catalog.version"] {
        let text = version.clone();
        context.register_udf(create_udf(
            name,
            vec![],
            DataType::Utf8,
            Volatility::Stable,
            Arc::new(move |_| Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.clone()))))),
        ));
    }
    Ok(context)
}

struct Handlers {
    service: Arc<DfSessionService>,
    parameters: Arc<DefaultServerParameterProvider>,
    connections: Arc<ConnectionManager>,
    users: Arc<Users>,
}

impl Handlers {
    fn new(context: Arc<SessionContext>, token: &str) -> Result<Self, SiteError> {
        let hooks: Vec<Arc<dyn QueryHook>> = vec![
            Arc::new(ReadOnly),
            Arc::new(CursorStatementHook),
            Arc::new(SetShowHook),
            Arc::new(TransactionStatementHook),
        ];
        let mut parameters = DefaultServerParameterProvider::default();
        VERSION.clone_into(&mut parameters.server_version);
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        let mut salt = vec![0u8; 16];
        getrandom::fill(&mut salt).map_err(|e| e.to_string())?;
        let salted = gen_salted_password(token, &salt, SCRAM_ITERATIONS);
        Ok(Self {
            service: Arc::new(DfSessionService::new_with_hooks(context, hooks)),
            parameters: Arc::new(parameters),
            connections: Arc::new(ConnectionManager::new()),
            users: Arc::new(Users { salt, salted }),
        })
    }
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.service)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.service)
    }

    // One per connection: it holds how far the handshake has come.
    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        let scram = ScramAuth::new(Arc::clone(&self.users) as Arc<dyn AuthSource>);
        Arc::new(
            SASLAuthStartupHandler::new(Arc::clone(&self.parameters))
                .with_scram(scram)
                .with_connection_manager(Arc::clone(&self.connections)),
        )
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.connections)))
    }
}

#[derive(Debug)]
struct Users {
    salt: Vec<u8>,
    salted: Vec<u8>,
}

#[async_trait]
impl AuthSource for Users {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        match login.user() {
            Some(USER) => Ok(Password::new(Some(self.salt.clone()), self.salted.clone())),
            other => Err(PgWireError::InvalidPassword(other.unwrap_or_default().to_owned())),
        }
    }
}

fn refusal(why: String) -> PgWireError {
    // 25006: read only SQL transaction.
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), "25006".to_owned(), why)))
}

fn failed(e: DataFusionError) -> PgWireError {
    let code = match e.find_root() {
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::SQL(..) => "42601",
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => "42P01",
        _ => "XX000",
    };
    let text = e.strip_backtrace();
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), code.to_owned(), text)))
}

/// Refuses everything that is no reading, and answers what only looks like more.
struct ReadOnly;

async fn planned(s: &Statement, context: &SessionContext) -> PgWireResult<LogicalPlan> {
    let adapted = DfStatement::Statement(Box::new(compat::adapted(s)));
    let plan = match context.state().statement_to_plan(adapted).await {
        Ok(plan) => plan,
        // Only where the engine cannot plan it: a count over an empty table is 0 and not nothing.
        Err(e) => return compat::empty(s).ok_or_else(|| failed(e)),
    };
    guard::plan(&plan).map_err(refusal)?;
    Ok(plan)
}

fn tag(s: &Statement) -> Option<Tag> {
    match s {
        Statement::Savepoint { .. } => Some(Tag::new("SAVEPOINT")),
        Statement::ReleaseSavepoint { .. } => Some(Tag::new("RELEASE")),
        Statement::Discard { .. } => Some(Tag::new("DISCARD")),
        Statement::Deallocate { .. } => Some(Tag::new("DEALLOCATE")),
        _ => None,
    }
}

// `SHOW` of what the engine would answer with its own name and version.
fn instead(s: &Statement) -> Option<String> {
    let Statement::ShowVariable { variable } = s else { return None };
    let name = variable.iter().map(|v| v.value.to_lowercase()).collect::<Vec<_>>().join("_");
    match name.as_str() {
        "server_version" => Some(format!("SELECT '{VERSION}' AS server_version")),
        "server_version_num" => Some("SELECT '160006' AS server_version_num".to_owned()),
        _ => None,
    }
}

async fn answered(sql: &str, context: &SessionContext) -> PgWireResult<LogicalPlan> {
    context.state().create_logical_plan(sql).await.map_err(failed)
}

fn nothing() -> LogicalPlan {
    LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}

#[async_trait]
impl QueryHook for ReadOnly {
    async fn handle_simple_query(
        &self,
        s: &Statement,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if let Err(why) = guard::statement(s) {
            return Some(Err(refusal(why)));
        }
        if let Some(tag) = tag(s) {
            return Some(Ok(Response::Execution(tag)));
        }
        let plan = match (instead(s), s) {
            (Some(sql), _) => answered(&sql, context).await,
            (None, Statement::Query(_) | Statement::Explain { .. }) => planned(s, context).await,
            (None, _) => return None,
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(e) => return Some(Err(e)),
        };
        let frame = DataFrame::new(context.state(), plan);
        let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
        Some(df::encode_dataframe(frame, &Format::UnifiedText, Some(options)).await.map(Response::Query))
    }

    async fn handle_extended_parse_query(
        &self,
        s: &Statement,
        context: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        if let Err(why) = guard::statement(s) {
            return Some(Err(refusal(why)));
        }
        if tag(s).is_some() {
            return Some(Ok(nothing()));
        }
        match (instead(s), s) {
            (Some(sql), _) => Some(answered(&sql, context).await),
            (None, Statement::Query(_) | Statement::Explain { .. }) => Some(planned(s, context).await),
            (None, _) => None,
        }
    }

    async fn handle_extended_query(
        &self,
        s: &Statement,
        _plan: &LogicalPlan,
        _params: &ParamValues,
        _context: &SessionContext,
        _client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if let Err(why) = guard::statement(s) {
            return Some(Err(refusal(why)));
        }
        tag(s).map(|t| Ok(Response::Execution(t)))
    }
}
