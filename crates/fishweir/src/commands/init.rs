//! `fishweir init`

use std::path::Path;

use anyhow::Result;

use crate::project::Project;

pub(crate) fn run(root: &Path) -> Result<u8> {
    let made = Project::init(root)?;
    if made.is_empty() {
        eprintln!("`{}` already is a project; nothing changed", root.display());
    }
    for path in made {
        eprintln!("made {}", path.display());
    }
    Ok(0)
}
