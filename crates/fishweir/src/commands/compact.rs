//! `fishweir compact`

use anyhow::Result;
use chrono::{TimeDelta, Utc};

use crate::output::say;
use crate::project::Project;

const SMALL_BYTES: i64 = 32 << 20;
/// Longer than any write takes.
const ORPHAN_HOURS: i64 = 24;

pub(crate) async fn run(project: &Project) -> Result<u8> {
    compact(project, &say).await?;
    Ok(0)
}

/// Merges small files of every table and tells what was done.
pub(crate) async fn compact(project: &Project, tell: &(dyn Fn(&str) -> Result<()> + Sync)) -> Result<()> {
    let _lock = project.lock()?;
    let lake = project.lake()?;
    for name in lake.table_names().await? {
        let Some(mut table) = lake.existing(&name).await? else { continue };
        let change = table.compact(SMALL_BYTES).await?;
        if change.files_removed > 0 {
            tell(&format!(
                "{name}: {} small files merged, {} rows",
                change.files_removed, change.rows_added
            ))?;
        }
        // WHY: the clock of the machine, not `--now`: files carry real times of writing.
        let grace = Utc::now() - TimeDelta::hours(ORPHAN_HOURS);
        let swept = table.sweep_orphans(grace.timestamp_micros()).await?;
        if swept > 0 {
            tell(&format!("{name}: {swept} files of interrupted writes removed"))?;
        }
    }
    Ok(())
}
