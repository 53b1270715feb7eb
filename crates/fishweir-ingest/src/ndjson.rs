//! NDJSON: picks the wanted fields of each object and skips the rest unparsed.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use hashbrown::HashMap;

/// Where a key leads.
#[derive(Debug, Default)]
struct Node {
    column: Option<usize>,
    children: HashMap<String, Node>,
}

/// Collects wanted fields in text columns.
pub(crate) struct Ndjson {
    names: Vec<String>,
    root: Node,
    columns: Vec<StringViewBuilder>,
    found: Vec<Found>,
}

/// A value as it stands in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Absent,
    Raw { start: usize, end: usize },
}

impl Ndjson {
    /// Fields may be dotted paths; a literal key with dots is found too.
    pub(crate) fn new(names: &[String]) -> Self {
        let mut root = Node::default();
        for (i, name) in names.iter().enumerate() {
            root.children.entry(name.clone()).or_default().column = Some(i);
            if name.contains('.') {
                let mut at = &mut root;
                for part in name.split('.') {
                    at = at.children.entry(part.to_owned()).or_default();
                }
                at.column.get_or_insert(i);
            }
        }
        Self {
            columns: names.iter().map(|_| StringViewBuilder::new()).collect(),
            found: vec![Found::Absent; names.len()],
            names: names.to_vec(),
            root,
        }
    }

    pub(crate) fn push(&mut self, line: &str) -> Result<(), String> {
        check_object(line)?;
        self.found.fill(Found::Absent);
        let end = walk(&self.root, line, 0, &mut self.found)?;
        let rest = line.get(end..).unwrap_or_default().trim();
        if rest != "}" {
            return Err("not one JSON object: more follows it on the line".to_owned());
        }
        for (builder, found) in self.columns.iter_mut().zip(&self.found) {
            let raw = match found {
                Found::Absent => None,
                Found::Raw { start, end } => line.get(*start..*end),
            };
            append(builder, raw);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<(String, ArrayRef)> {
        let columns = self.columns.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef);
        self.names.into_iter().zip(columns).collect()
    }
}

fn append(builder: &mut StringViewBuilder, raw: Option<&str>) {
    match raw {
        None | Some("null") => builder.append_null(),
        Some(raw) => match raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => builder.append_value(text),
            Some(_) => builder.append_option(sonic_rs::from_str::<String>(raw).ok()),
            None => builder.append_value(raw),
        },
    }
}

fn check_object(line: &str) -> Result<(), String> {
    if line.trim_start().starts_with('{') { Ok(()) } else { Err("not a JSON object".to_owned()) }
}

// Notes the wanted values of an object that begins at `base` of the line; returns the position
// behind the last value.
fn walk(node: &Node, text: &str, base: usize, found: &mut [Found]) -> Result<usize, String> {
    let start = text.as_ptr() as usize;
    let mut end = text.find('{').map_or(0, |i| i + 1);
    for entry in sonic_rs::to_object_iter(text) {
        let (key, value) = entry.map_err(|e| short(&e.to_string()))?;
        let raw = match value.as_raw_cow() {
            std::borrow::Cow::Borrowed(raw) => raw,
            std::borrow::Cow::Owned(_) => return Err("no JSON object".to_owned()),
        };
        let at = (raw.as_ptr() as usize).saturating_sub(start);
        end = at + raw.len();
        let Some(child) = node.children.get(&*key) else { continue };
        if !child.children.is_empty() && raw.starts_with('{') {
            walk(child, raw, base + at, found)?;
        }
        if let Some(slot) = child.column.and_then(|i| found.get_mut(i)) {
            *slot = Found::Raw { start: base + at, end: base + end };
        }
    }
    Ok(end)
}

fn short(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    format!("not valid JSON: {}", first.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    fn one(line: &str) -> Result<Vec<Option<String>>, String> {
        let names: Vec<String> = ["a", "b.c", "d"].iter().map(ToString::to_string).collect();
        let mut n = Ndjson::new(&names);
        n.push(line)?;
        let text = |a: &ArrayRef| {
            let a = a.as_string_view();
            a.is_valid(0).then(|| a.value(0).to_owned())
        };
        Ok(n.finish().iter().map(|(_, a)| text(a)).collect())
    }

    #[test]
    fn picks_fields_and_refuses_broken_lines() {
        let s = |t: &str| Some(t.to_owned());
        assert_eq!(
            one(r#"{"a":1,"x":[1,{"a":2}],"b":{"c":"q\"\u00e9"},"d":null}"#).unwrap(),
            [s("1"), s("q\"é"), None]
        );
        assert_eq!(one(r#"{"b.c":true}"#).unwrap(), [None, s("true"), None]);
        assert_eq!(one(" {} ").unwrap(), [None, None, None]);
        assert_eq!(one(r#"{"a":1,"a":2}"#).unwrap(), [s("2"), None, None]);
        for bad in
            ["", "[]", "7", "{", r#"{"a":}"#, r#"{"a":1"#, r#"{"a":1} {"a":2}"#, r#"{"a":1}}"#, r#"{"a" 1}"#]
        {
            assert!(one(bad).is_err(), "{bad}");
        }
    }
}
