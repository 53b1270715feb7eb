//! Labelling functions: what an expert knows, as a named, versioned condition that votes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A labelling function that does not load; names file, line and cause.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FunctionError {
    /// No valid YAML of a labelling function.
    #[error("labelling function `{file}`: {cause}")]
    Yaml {
        /// File.
        file: String,
        /// Parser message with line and column.
        cause: String,
    },
    /// A value that makes no sense.
    #[error("labelling function `{file}`: {cause}\nhint: {cure}")]
    Value {
        /// File.
        file: String,
        /// What is wrong.
        cause: String,
        /// What to do.
        cure: String,
    },
}

/// What a function says when its condition holds; otherwise it abstains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Somebody else controls the account.
    Takeover,
    /// The member, or whom the member lets in.
    Benign,
}

/// How often experts believe the condition holds; where the label model starts from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expects {
    /// Share of takeovers.
    pub takeover: f64,
    /// Share of benign episodes.
    pub benign: f64,
}

/// One labelling function.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Version; a new one is a new claim.
    pub version: u32,
    /// Who answers for it.
    pub owner: String,
    /// What it says.
    pub vote: Vote,
    /// SQL condition over the columns of an episode.
    pub when: String,
    /// What it means, for the reader of a label.
    pub evidence: String,
    /// What experts believe of it.
    pub expects: Expects,
    /// Whether it reads what happened after the episode's day.
    #[serde(default)]
    pub late: bool,
    /// File it came from.
    #[serde(skip)]
    pub file: String,
}

/// Functions at most: their votes are held as bits.
pub const FUNCTIONS_MAX: usize = 60;

/// Returns the functions of the given files (name, text), by name.
///
/// # Errors
/// The first file that does not load, a name used twice, or too many functions.
pub fn load_functions(files: &[(String, String)]) -> Result<Vec<Function>, FunctionError> {
    let mut all: BTreeMap<String, Function> = BTreeMap::new();
    for (file, text) in files {
        let mut f: Function = serde_saphyr::from_str(text)
            .map_err(|e| FunctionError::Yaml { file: file.clone(), cause: e.to_string() })?;
        f.file.clone_from(file);
        check(&f)?;
        if let Some(other) = all.get(&f.name) {
            return Err(wrong(
                &f,
                format!("`{}` is already defined in `{}`", f.name, other.file),
                "rename one",
            ));
        }
        all.insert(f.name.clone(), f);
    }
    if let Some(last) = all.values().nth(FUNCTIONS_MAX) {
        return Err(wrong(
            last,
            format!("more than {FUNCTIONS_MAX} functions"),
            "retire those that add nothing",
        ));
    }
    Ok(all.into_values().collect())
}

fn wrong(f: &Function, cause: String, cure: &str) -> FunctionError {
    FunctionError::Value { file: f.file.clone(), cause, cure: cure.to_owned() }
}

fn check(f: &Function) -> Result<(), FunctionError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if f.name.is_empty() || !f.name.chars().all(plain) {
        let cause = format!("name `{}` is not made of a-z, 0-9 and _", f.name);
        return Err(wrong(f, cause, "use lower case and underscores"));
    }
    if f.when.trim().is_empty() || f.when.contains(';') {
        return Err(wrong(f, "`when` is no single condition".to_owned(), "write one SQL condition"));
    }
    if f.evidence.trim().is_empty() || f.owner.trim().is_empty() {
        return Err(wrong(
            f,
            "owner or evidence is empty".to_owned(),
            "say who answers for it and what it means",
        ));
    }
    let share = |v: f64| (0.0..=1.0).contains(&v);
    if !share(f.expects.takeover) || !share(f.expects.benign) {
        return Err(wrong(f, "`expects` lies outside 0 to 1".to_owned(), "give shares"));
    }
    let speaks_for = f.expects.takeover > f.expects.benign;
    if speaks_for != (f.vote == Vote::Takeover) {
        let cause =
            "`expects` contradicts `vote`: a function votes for the class on which it fires more often";
        return Err(wrong(f, cause.to_owned(), "swap the shares or the vote"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name: a\nversion: 1\nowner: x\nvote: takeover\nwhen: new_device\nevidence: e\nexpects: { takeover: 0.5, benign: 0.01 }\n";

    #[test]
    fn errors_name_the_file_and_the_cure() {
        let load = |text: &str| load_functions(&[("labels/a.yaml".to_owned(), text.to_owned())]);
        assert_eq!(load(GOOD).unwrap()[0].name, "a");
        for (from, to, say) in [
            ("vote: takeover", "vote: benign", "contradicts"),
            ("when: new_device", "when: 'a; b'", "no single condition"),
            ("owner: x", "owner: ''", "empty"),
            ("0.5", "5", "outside 0 to 1"),
            ("name: a", "name: 'A b'", "not made of"),
            ("version: 1", "versoin: 1", "versoin"),
        ] {
            let e = load(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(e.contains(say) && e.contains("labels/a.yaml"), "{e}");
        }
    }
}
