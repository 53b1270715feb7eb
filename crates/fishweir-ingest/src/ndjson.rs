//! NDJSON: picks the wanted fields of each object and skips the rest unparsed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue};

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
    seen: Vec<bool>,
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
            seen: vec![false; names.len()],
            names: names.to_vec(),
            root,
        }
    }

    pub(crate) fn push(&mut self, line: &str) -> Result<(), String> {
        let mut values: Vec<Option<LazyValue<'_>>> = (0..self.names.len()).map(|_| None).collect();
        check_object(line)?;
        let end = walk(&self.root, line, &mut values)?;
        let rest = line.get(end..).unwrap_or_default().trim();
        if rest != "}" {
            return Err("not one JSON object: more follows it on the line".to_owned());
        }
        self.seen.fill(false);
        for (builder, value) in self.columns.iter_mut().zip(&values) {
            match value {
                None => builder.append_null(),
                Some(v) => match v.get_type() {
                    JsonType::Null => builder.append_null(),
                    JsonType::String => match v.as_str() {
                        Some(s) => builder.append_value(s),
                        None => builder.append_value(v.as_raw_str()),
                    },
                    _ => builder.append_value(v.as_raw_str()),
                },
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<(String, ArrayRef)> {
        let columns = self.columns.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef);
        self.names.into_iter().zip(columns).collect()
    }
}

fn check_object(line: &str) -> Result<(), String> {
    if line.trim_start().starts_with('{') { Ok(()) } else { Err("not a JSON object".to_owned()) }
}

// Returns the position in `text` behind the last value read.
fn walk<'a>(node: &Node, text: &'a str, values: &mut [Option<LazyValue<'a>>]) -> Result<usize, String> {
    let start = text.as_ptr() as usize;
    let mut end = text.find('{').map_or(0, |i| i + 1);
    for entry in sonic_rs::to_object_iter(text) {
        let (key, value) = entry.map_err(|e| short(&e.to_string()))?;
        let raw = match value.as_raw_cow() {
            std::borrow::Cow::Borrowed(raw) => raw,
            std::borrow::Cow::Owned(_) => return Err("no JSON object".to_owned()),
        };
        end = (raw.as_ptr() as usize).saturating_sub(start) + raw.len();
        let Some(child) = node.children.get(&*key) else { continue };
        if !child.children.is_empty() && value.get_type() == JsonType::Object {
            walk(child, raw, values)?;
        }
        if let Some(slot) = child.column.and_then(|i| values.get_mut(i)) {
            *slot = Some(value);
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
