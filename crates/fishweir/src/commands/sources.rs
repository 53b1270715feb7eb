//! `fishweir sources`

use anyhow::{Result, bail};

use crate::output::say;
use crate::project::Project;

pub(crate) fn run(project: &Project, name: Option<&str>) -> Result<u8> {
    let all = project.sources()?;
    match name {
        None => {
            for (name, (file, text)) in &all {
                let about = text.lines().next().unwrap_or_default().trim_start_matches('#').trim();
                say(&format!("{name:14} {about}  ({file})"))?;
            }
        }
        Some(name) => match all.get(name) {
            Some((_, text)) => say(text.trim_end())?,
            None => bail!("no source is called `{name}`"),
        },
    }
    Ok(0)
}
