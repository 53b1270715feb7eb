//! The project folder: configuration, keys, lake, models and metrics.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use fishweir_detect::{DetectorConfig, ScanConfig};
use fishweir_engine::{Engine, EngineConfig};
use fishweir_events::{DAY_US, KeyRing, NetworkTable, Pseudonyms, RouteRule, RouteRules, Stream, parse_time};
use fishweir_ingest::{IngestConfig, Source, file_table, raw_table, reject_table};
use fishweir_labels::Function;
use fishweir_lake::{Lake, storage_options_from};
use fishweir_metrics::Costs;
use fishweir_pipeline::{Catalog, Model, NativeModel, Runner};
use fishweir_server::Destination;
use serde::Deserialize;

use crate::shipped;

/// The file `fishweir.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) lake: LakeConfig,
    pub(crate) limits: Limits,
    pub(crate) ingest: IngestSection,
    pub(crate) retention: RetentionSection,
    pub(crate) run: RunSection,
    pub(crate) routes: Vec<RouteRule>,
    pub(crate) network: NetworkSection,
    pub(crate) detector: DetectorConfig,
    pub(crate) scan: ScanConfig,
    pub(crate) costs: Costs,
    pub(crate) serve: ServeSection,
    pub(crate) destinations: Vec<Destination>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LakeConfig {
    /// Folder (relative to the project) or object-store URL.
    pub(crate) location: String,
    /// Storage options beside those in the environment.
    pub(crate) options: HashMap<String, String>,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { location: "lake".to_owned(), options: HashMap::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) memory_mb: usize,
    pub(crate) threads: usize,
    pub(crate) line_bytes: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) commit_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mb: 2048, threads: 0, line_bytes: 1 << 20, chunk_bytes: 4 << 20, commit_rows: 400_000 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IngestSection {
    pub(crate) time_min: String,
    pub(crate) future_hours: u32,
}

impl Default for IngestSection {
    fn default() -> Self {
        Self { time_min: "1995-01-01".to_owned(), future_hours: 24 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSection {
    pub(crate) raw_days: u32,
}

impl Default for RetentionSection {
    fn default() -> Self {
        Self { raw_days: 7 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunSection {
    pub(crate) parallel: usize,
    pub(crate) batch_rows: i64,
}

impl Default for RunSection {
    fn default() -> Self {
        Self { parallel: 2, batch_rows: 4_000_000 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeSection {
    pub(crate) run_every_s: u64,
    pub(crate) commit_every_s: u64,
    pub(crate) backlog_mb: usize,
    pub(crate) body_mb: usize,
    pub(crate) sql_timeout_s: u64,
    pub(crate) sql_rows_max: usize,
    pub(crate) digest_to: Vec<String>,
}

impl Default for ServeSection {
    fn default() -> Self {
        Self {
            run_every_s: 300,
            commit_every_s: 5,
            backlog_mb: 512,
            body_mb: 32,
            sql_timeout_s: 60,
            sql_rows_max: 5_000_000,
            digest_to: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkSection {
    /// CSV of `network,asn,country`.
    pub(crate) table: Option<PathBuf>,
}

/// An opened project.
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) config: Config,
    pub(crate) now_us: i64,
}

const CONFIG: &str = "fishweir.toml";
const KEYS: &str = "keys/pseudonyms.toml";
const TOKEN: &str = "keys/server.token";

const STARTER: &str = include_str!("starter.toml");

impl Project {
    /// Makes a project folder; files that exist are kept.
    pub(crate) fn init(root: &Path) -> Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        for folder in ["keys", "sources", "models", "metrics"] {
            fs::create_dir_all(root.join(folder))
                .with_context(|| format!("cannot make `{}`", root.join(folder).display()))?;
        }
        let config = root.join(CONFIG);
        if !config.exists() {
            fs::write(&config, STARTER).with_context(|| format!("cannot write `{}`", config.display()))?;
            made.push(config);
        }
        let keys = root.join(KEYS);
        if !keys.exists() {
            let mut random = [0u8; 32];
            getrandom::fill(&mut random).map_err(|e| anyhow!("no randomness for the key file: {e}"))?;
            let text = format!(
                "# Keys of the pseudonyms. Whoever has this file can link pseudonyms to people:\n# keep it outside backups of the lake. Losing it means that old and new ids no longer match.\n{}",
                toml::to_string(&KeyRing::generate(random))?
            );
            write_private(&keys, &text)?;
            made.push(keys);
        }
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "/keys\n/lake\n/spool\n")?;
            made.push(ignore);
        }
        Ok(made)
    }

    pub(crate) fn open(root: &Path, now_us: i64) -> Result<Self> {
        let path = root.join(CONFIG);
        let text = fs::read_to_string(&path).map_err(|e| {
            anyhow!(
                "`{}`: {e}\nhint: `fishweir init --project {}` makes a project",
                path.display(),
                root.display()
            )
        })?;
        let config: Config = toml::from_str(&text).with_context(|| format!("`{}`", path.display()))?;
        Ok(Self { root: root.to_owned(), config, now_us })
    }

    pub(crate) fn threads(&self) -> usize {
        match self.config.limits.threads {
            0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            n => n,
        }
    }

    pub(crate) fn lake(&self) -> Result<Lake> {
        let mut options = storage_options_from(std::env::vars());
        options.extend(self.config.lake.options.clone());
        let location = &self.config.lake.location;
        let location = if location.contains("://") {
            location.clone()
        } else {
            self.root.join(location).to_string_lossy().into_owned()
        };
        Ok(Lake::open(&location, options)?)
    }

    pub(crate) fn catalog(&self) -> Result<Catalog> {
        let engine = Engine::new(&EngineConfig {
            memory_bytes: self.config.limits.memory_mb.saturating_mul(1 << 20) / 4 * 3,
            threads: self.threads(),
            spill_dir: None,
        })?;
        Ok(Catalog::new(self.lake()?, engine)?)
    }

    /// The lake with an engine for questions of readers, who get a quarter of the memory.
    pub(crate) fn readers(&self) -> Result<Catalog> {
        let engine = Engine::new(&EngineConfig {
            memory_bytes: self.config.limits.memory_mb.saturating_mul(1 << 20) / 4,
            threads: self.threads(),
            spill_dir: None,
        })?;
        Ok(Catalog::new(self.lake()?, engine)?)
    }

    /// Alert rules: shipped ones, with those of the project in their place or beside them.
    pub(crate) fn alerts(&self) -> Result<Vec<(String, String)>> {
        overlay(shipped::ALERTS, &self.root.join("alerts"), "yaml")
    }

    /// Returns the token of the server, made at the first call.
    pub(crate) fn token(&self) -> Result<String> {
        let path = self.root.join(TOKEN);
        if !path.exists() {
            let mut random = [0u8; 24];
            getrandom::fill(&mut random).map_err(|e| anyhow!("no randomness for the token: {e}"))?;
            let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
            write_private(&path, &format!("{text}\n"))?;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
        let token = text.trim().to_owned();
        anyhow::ensure!(token.len() >= 16, "`{}` holds no token of 16 or more characters", path.display());
        Ok(token)
    }

    pub(crate) fn pseudonyms(&self) -> Result<Pseudonyms> {
        let path = self.root.join(KEYS);
        let text = fs::read_to_string(&path)
            .map_err(|e| anyhow!("`{}`: {e}\nhint: `fishweir init` makes a key file", path.display()))?;
        let ring: KeyRing = toml::from_str(&text).map_err(|_| {
            anyhow!("`{}` is no key file: expected `active` and a table `[keys]`", path.display())
        })?;
        ring.pseudonyms().with_context(|| format!("`{}`", path.display()))
    }

    pub(crate) fn routes(&self) -> Result<RouteRules> {
        RouteRules::new(&self.config.routes).with_context(|| format!("`{CONFIG}`"))
    }

    pub(crate) fn networks(&self) -> Result<NetworkTable> {
        let Some(path) = &self.config.network.table else { return Ok(NetworkTable::default()) };
        let path = self.root.join(path);
        let text = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
        NetworkTable::parse(&text).with_context(|| format!("`{}`", path.display()))
    }

    /// All sources: shipped ones, then those of the project, which win.
    pub(crate) fn sources(&self) -> Result<BTreeMap<String, (String, String)>> {
        let mut all = BTreeMap::new();
        for (name, text) in Source::shipped() {
            all.insert(name.to_owned(), (format!("shipped {name}.toml"), text.to_owned()));
        }
        let folder = self.root.join("sources");
        for path in files_below(&folder, "toml")? {
            let text = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
            let source = Source::parse(&path.display().to_string(), &text)?;
            all.insert(source.name, (path.display().to_string(), text));
        }
        Ok(all)
    }

    pub(crate) fn source(&self, name: &str) -> Result<Source> {
        let all = self.sources()?;
        let Some((file, text)) = all.get(name) else {
            let known: Vec<&str> = all.keys().map(String::as_str).collect();
            bail!("no source is called `{name}`\nhint: known sources are {}", known.join(", "));
        };
        Ok(Source::parse(file, text)?)
    }

    pub(crate) fn ingest_config(&self, source: Source, as_new: bool) -> Result<IngestConfig> {
        let limits = &self.config.limits;
        let time_min_us = parse_time(&self.config.ingest.time_min)
            .with_context(|| format!("`{CONFIG}`: ingest.time_min"))?;
        let future = i64::from(self.config.ingest.future_hours) * DAY_US / 24;
        Ok(IngestConfig {
            source,
            time_min_us,
            time_max_us: self.now_us + future,
            chunk_bytes: limits.chunk_bytes.max(1 << 12),
            line_bytes: limits.line_bytes.max(256),
            commit_rows: limits.commit_rows.max(1),
            threads: self.threads(),
            as_new,
            spool_dir: self.root.join("spool"),
        })
    }

    pub(crate) fn models(&self) -> Result<Vec<Model>> {
        let texts = overlay(shipped::MODELS, &self.root.join("models"), "sql")?;
        texts.iter().map(|(file, text)| Ok(Model::parse(file, text)?)).collect()
    }

    pub(crate) fn metrics(&self) -> Result<Vec<fishweir_metrics::Metric>> {
        let texts = overlay(shipped::METRICS, &self.root.join("metrics"), "yaml")?;
        Ok(fishweir_metrics::load(&texts)?)
    }

    /// All labelling functions: shipped ones, with those of the project in their place or beside them.
    pub(crate) fn functions(&self) -> Result<Vec<Function>> {
        let texts = overlay(shipped::LABELS, &self.root.join("labels"), "yaml")?;
        Ok(fishweir_labels::load_functions(&texts)?)
    }

    fn labels(&self) -> Result<Vec<Arc<dyn NativeModel>>> {
        let incidents =
            fishweir_labels::DosIncidents::new(self.config.detector.clone(), self.config.scan.clone());
        Ok(vec![
            Arc::new(incidents),
            Arc::new(fishweir_labels::RuleOutcomes),
            Arc::new(fishweir_labels::LoginCampaigns),
            Arc::new(fishweir_labels::AccountTakeovers::new(self.functions()?)),
        ])
    }

    /// The models whose tables hold claims.
    pub(crate) fn label_models(&self) -> Result<Vec<Model>> {
        Ok(self.labels()?.iter().map(|n| n.model()).collect())
    }

    pub(crate) fn runner(&self) -> Result<Runner> {
        let metrics = self.metrics()?;
        let mut natives = self.labels()?;
        let labels = self.label_models()?;
        let (costs, raw_days) = (self.config.costs.clone(), self.config.retention.raw_days);
        let values = fishweir_metrics::MetricValues::new(metrics, costs, labels, raw_days);
        natives.push(Arc::new(fishweir_metrics::Interventions::new(values.clone())));
        natives.push(Arc::new(values));
        let streams = Stream::ALL.into_iter().map(raw_table).collect();
        Ok(Runner::new(self.catalog()?, self.models()?, natives, streams))
    }

    /// Makes the tables that ingest writes, so that queries find them before the first file.
    pub(crate) async fn ensure_tables(&self) -> Result<()> {
        let lake = self.lake()?;
        for spec in Stream::ALL.into_iter().map(raw_table).chain([reject_table(), file_table()]) {
            lake.table(&spec).await?;
        }
        Ok(())
    }

    /// Returns the lock of the model graph; waits for nobody.
    pub(crate) fn lock(&self) -> Result<fs::File> {
        let path = self.root.join(".lock");
        let file = fs::File::create(&path).with_context(|| format!("`{}`", path.display()))?;
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(_) => bail!(
                "another `fishweir run` or `retention` is at work in this project; try again when it is done"
            ),
        }
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).with_context(|| format!("cannot write `{}`", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

fn files_below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    if !folder.is_dir() {
        return Ok(out);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("`{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            out.extend(files_below(&path, extension)?);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

// A file of the project takes the place of the shipped file with the same path.
fn overlay(shipped: &[(&str, &str)], folder: &Path, extension: &str) -> Result<Vec<(String, String)>> {
    let mut all: BTreeMap<String, (String, String)> =
        shipped.iter().map(|(p, t)| ((*p).to_owned(), (format!("shipped {p}"), (*t).to_owned()))).collect();
    for path in files_below(folder, extension)? {
        let text = fs::read_to_string(&path).with_context(|| format!("`{}`", path.display()))?;
        let key = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        all.insert(key, (path.display().to_string(), text));
    }
    Ok(all.into_values().collect())
}
