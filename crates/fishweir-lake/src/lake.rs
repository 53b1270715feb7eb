//! A folder or bucket of tables.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake_core::logstore::{
    ObjectStoreFactory, ObjectStoreRef, StorageConfig, logstore_factories, object_store_factories,
};
use deltalake_core::{DeltaResult, DeltaTableBuilder, DeltaTableError};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::error::LakeError;
use crate::table::{Table, TableSpec};

/// Where the tables live.
#[derive(Clone, Debug)]
pub struct Lake {
    root: Url,
    options: HashMap<String, String>,
}

#[derive(Debug)]
struct CloudFactory;

impl ObjectStoreFactory for CloudFactory {
    fn parse_url_opts(&self, url: &Url, config: &StorageConfig) -> DeltaResult<(ObjectStoreRef, Path)> {
        let options: Vec<_> = config.raw.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
        let (store, path) = object_store::parse_url_opts(url, options)
            .map_err(|e| DeltaTableError::generic(e.to_string()))?;
        Ok((Arc::new(store), path))
    }
}

const CLOUD_SCHEMES: &[&str] = &["s3", "s3a", "gs", "az", "abfs", "abfss"];

/// Returns the storage options among environment variables: those that begin with `AWS_`,
/// `GOOGLE_` or `AZURE_`.
#[must_use]
pub fn storage_options_from(env: impl IntoIterator<Item = (String, String)>) -> HashMap<String, String> {
    env.into_iter().filter(|(k, _)| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|p| k.starts_with(p))).collect()
}

impl Lake {
    /// Returns the lake at an absolute local path or an object-store URL.
    ///
    /// # Errors
    /// A location that is neither, or that cannot be made.
    pub fn open(location: &str, options: HashMap<String, String>) -> Result<Self, LakeError> {
        let bad = |cause: String| LakeError::Location { location: location.to_owned(), cause };
        let root = if location.contains("://") {
            let mut url = Url::parse(location).map_err(|e| bad(e.to_string()))?;
            ObjectStoreScheme::parse(&url).map_err(|e| bad(e.to_string()))?;
            if !url.path().ends_with('/') {
                let path = format!("{}/", url.path());
                url.set_path(&path);
            }
            url
        } else {
            std::fs::create_dir_all(location).map_err(|e| bad(e.to_string()))?;
            let absolute = std::fs::canonicalize(location).map_err(|e| bad(e.to_string()))?;
            Url::from_directory_path(absolute).map_err(|()| bad("not an absolute path".to_owned()))?
        };
        for scheme in CLOUD_SCHEMES {
            if let Ok(key) = Url::parse(&format!("{scheme}://")) {
                object_store_factories().entry(key.clone()).or_insert_with(|| Arc::new(CloudFactory));
                let default = Url::parse("file://")
                    .ok()
                    .and_then(|k| logstore_factories().get(&k).map(|f| Arc::clone(f.value())));
                if let Some(factory) = default {
                    logstore_factories().entry(key).or_insert(factory);
                }
            }
        }
        Ok(Self { root, options })
    }

    /// Returns the location.
    #[must_use]
    pub fn root(&self) -> &Url {
        &self.root
    }

    /// Returns a store over the whole location, to read files by absolute path.
    ///
    /// # Errors
    /// Options that the store refuses.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>, LakeError> {
        let options = self.options.iter().map(|(k, v)| (k.to_lowercase(), v.clone()));
        let (store, _) = object_store::parse_url_opts(&self.root, options)
            .map_err(|e| LakeError::Location { location: self.root.to_string(), cause: e.to_string() })?;
        Ok(Arc::from(store))
    }

    fn url_of(&self, name: &str) -> Result<Url, LakeError> {
        self.root.join(&format!("{name}/")).map_err(|e| LakeError::Location {
            location: format!("{}{name}", self.root),
            cause: e.to_string(),
        })
    }

    /// Returns the table, created when it does not exist yet; columns that it lacks are added, null in
    /// the rows that are there.
    ///
    /// # Errors
    /// A log that cannot be read or written, or a stored column of another type.
    pub async fn table(&self, spec: &TableSpec) -> Result<Table, LakeError> {
        Table::open_or_create(self.builder(&spec.name)?, spec).await
    }

    /// Returns the table if it exists, with its time column if it has one.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn existing(&self, name: &str) -> Result<Option<Table>, LakeError> {
        Table::open_existing(self.builder(name)?, name).await
    }

    fn builder(&self, name: &str) -> Result<DeltaTableBuilder, LakeError> {
        let url = self.url_of(name)?;
        if url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            std::fs::create_dir_all(&path).map_err(|e| LakeError::Location {
                location: path.display().to_string(),
                cause: e.to_string(),
            })?;
        }
        let builder = DeltaTableBuilder::from_url(url).map_err(LakeError::delta(name))?;
        Ok(builder.with_storage_options(self.options.clone()))
    }

    /// Returns the names of all tables, in order.
    ///
    /// # Errors
    /// A location that cannot be listed.
    pub async fn table_names(&self) -> Result<Vec<String>, LakeError> {
        let bad = |e: object_store::Error| LakeError::Location {
            location: self.root.to_string(),
            cause: e.to_string(),
        };
        let store = self.store()?;
        let prefix = Path::from_url_path(self.root.path()).map_err(|e| bad(e.into()))?;
        let listed = store.list_with_delimiter(Some(&prefix)).await.map_err(bad)?;
        let mut names = Vec::new();
        for folder in listed.common_prefixes {
            let log = folder.clone().join("_delta_log");
            let mut inside = store.list(Some(&log));
            if inside.try_next().await.map_err(bad)?.is_some()
                && let Some(name) = folder.filename()
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}
