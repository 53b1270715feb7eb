//! Order of models by what they read.

use std::collections::{BTreeMap, BTreeSet};

use fishweir_events::Stream;

use crate::model::{Model, ModelError};

/// Returns the models in levels: every model reads only streams and models of earlier levels. `beside`
/// names tables that native models write beside their own.
pub(crate) fn levels(models: &[Model], beside: &BTreeSet<String>) -> Result<Vec<Vec<Model>>, ModelError> {
    let mut waiting: BTreeMap<&str, &Model> = BTreeMap::new();
    for m in models {
        if waiting.insert(&m.name, m).is_some() {
            return Err(ModelError::Twice(m.name.clone()));
        }
    }
    let names: BTreeSet<&str> = waiting.keys().copied().collect();
    for m in models {
        for input in &m.inputs {
            if !names.contains(input.as_str()) && !beside.contains(input) && !is_stream(input) {
                return Err(ModelError::UnknownInput { model: m.name.clone(), input: input.clone() });
            }
        }
    }
    let mut levels = Vec::new();
    while !waiting.is_empty() {
        let ready: Vec<&str> = waiting
            .values()
            .filter(|m| m.inputs.iter().all(|i| !waiting.contains_key(i.as_str())))
            .map(|m| m.name.as_str())
            .collect();
        if ready.is_empty() {
            let circle: Vec<&str> = waiting.keys().copied().collect();
            return Err(ModelError::Cycle(circle.join(" → ")));
        }
        let level = ready.iter().filter_map(|n| waiting.remove(n).cloned()).collect();
        levels.push(level);
    }
    Ok(levels)
}

pub(crate) fn is_stream(name: &str) -> bool {
    Stream::ALL.iter().any(|s| s.name() == name)
}
