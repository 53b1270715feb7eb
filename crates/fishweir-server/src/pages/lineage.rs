//! What a metric is made of, drawn: metrics, tables, streams, from right to left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fishweir_metrics::Metric;
use fishweir_pipeline::Model;

const COLUMN: f64 = 210.0;
const ROW: f64 = 34.0;
const WIDTH: f64 = 176.0;
const HEIGHT: f64 = 24.0;
const DEPTH_MAX: usize = 8;

/// Returns what each thing is made of, from a metric down to the raw streams.
pub(crate) fn parts(
    metric: &str,
    metrics: &BTreeMap<String, Metric>,
    models: &[Model],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut todo = vec![metric.to_owned()];
    while let Some(name) = todo.pop() {
        if out.contains_key(&name) {
            continue;
        }
        let mut of = BTreeSet::new();
        if let Some(m) =
            metrics.get(&name).filter(|_| name == metric || !models.iter().any(|x| x.name == name))
        {
            of.extend(m.parts(metrics));
            of.extend([&m.from, &m.from_hour].into_iter().flatten().cloned());
        } else if let Some(model) = models.iter().find(|x| x.name == name) {
            of.extend(model.inputs.iter().cloned());
        }
        // A metric and a table may have the same name; a thing is not made of itself.
        of.remove(&name);
        todo.extend(of.iter().cloned());
        out.insert(name, of);
    }
    out
}

/// Returns the picture: raw streams on the left, the metric on the right.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn svg(metric: &str, parts: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut depth: BTreeMap<&str, usize> = BTreeMap::new();
    depths(metric, parts, 0, &mut depth);
    let deepest = depth.values().copied().max().unwrap_or(0);
    let mut columns: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (name, d) in &depth {
        columns.entry(deepest - d).or_default().push(name);
    }
    let tallest = columns.values().map(Vec::len).max().unwrap_or(1);
    let (w, h) = ((deepest + 1) as f64 * COLUMN, tallest as f64 * ROW + 8.0);
    let mut at: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (c, names) in &columns {
        let free = (tallest - names.len()) as f64 * ROW / 2.0;
        for (r, name) in names.iter().enumerate() {
            at.insert(name, (*c as f64 * COLUMN + 4.0, free + r as f64 * ROW + 4.0));
        }
    }
    let mut s = format!(r#"<svg viewBox="0 0 {w} {h}" role="img" aria-label="What {metric} is made of">"#);
    for (name, of) in parts {
        for part in of {
            if let (Some(a), Some(b)) = (at.get(part.as_str()), at.get(name.as_str())) {
                let (x1, y1, x2, y2) = (a.0 + WIDTH, a.1 + HEIGHT / 2.0, b.0, b.1 + HEIGHT / 2.0);
                let mid = f64::midpoint(x1, x2);
                let _ = write!(
                    s,
                    r#"<path class="edge" d="M{x1:.0} {y1:.0} C{mid:.0} {y1:.0} {mid:.0} {y2:.0} {x2:.0} {y2:.0}"/>"#
                );
            }
        }
    }
    for (name, (x, y)) in &at {
        let class = if *name == metric { "node self" } else { "node" };
        let shown: String = name.chars().take(26).collect();
        let _ = write!(
            s,
            r#"<g class="{class}"><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/><text x="{}" y="{}">{shown}</text></g>"#,
            x + 8.0,
            y + 16.0
        );
    }
    s.push_str("</svg>");
    s
}

fn depths<'a>(
    name: &'a str,
    parts: &'a BTreeMap<String, BTreeSet<String>>,
    at: usize,
    out: &mut BTreeMap<&'a str, usize>,
) {
    if at > DEPTH_MAX || out.get(name).is_some_and(|d| *d >= at) {
        return;
    }
    out.insert(name, at);
    for part in parts.get(name).into_iter().flatten() {
        depths(part, parts, at + 1, out);
    }
}
