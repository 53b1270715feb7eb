//! Charts as SVG: a trend of values with their interval, and the minutes of an incident.

use std::fmt::Write as _;

use fishweir_metrics::MetricValue;
use serde_json::{Map, Value};

use crate::words::{bare, time};

const W: f64 = 360.0;
const H: f64 = 96.0;
const LEFT: f64 = 6.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 16.0;
const DOTS_MAX: usize = 62;

struct Frame {
    points: usize,
    top: f64,
}

impl Frame {
    #[expect(clippy::cast_precision_loss, reason = "numbers of points")]
    fn x(&self, i: usize) -> f64 {
        LEFT + (W - 2.0 * LEFT) * (i as f64 + 0.5) / self.points.max(1) as f64
    }
    fn y(&self, v: f64) -> f64 {
        H - BOTTOM - (H - TOP - BOTTOM) * (v / self.top).clamp(0.0, 1.0)
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers of points")]
    fn step(&self) -> f64 {
        (W - 2.0 * LEFT) / self.points.max(1) as f64
    }
}

/// Returns the picture of a trend; gaps stay gaps.
pub(crate) fn trend(values: &[MetricValue], unit: &str, title: &str, bars: bool) -> String {
    let top = values.iter().filter_map(|v| v.high.or(v.value)).fold(0.0, f64::max);
    if values.len() < 2 || top <= 0.0 {
        return String::new();
    }
    let f = Frame { points: values.len(), top };
    let mut s = open(&format!("{title}, highest {}", bare(top, unit)));
    if bars {
        for (i, v) in values.iter().enumerate() {
            if let Some(x) = v.value {
                let w = (f.step() * 0.7).max(1.0);
                let _ = write!(
                    s,
                    r#"<rect class="bar" x="{:.1}" y="{:.1}" width="{w:.1}" height="{:.1}"><title>{}: {}</title></rect>"#,
                    f.x(i) - w / 2.0,
                    f.y(x),
                    (H - BOTTOM - f.y(x)).max(0.0),
                    time(v.period.from_us, "%F"),
                    bare(x, unit)
                );
            }
        }
    } else {
        let band: Vec<Option<(f64, f64, f64)>> =
            values.iter().enumerate().map(|(i, v)| Some((f.x(i), f.y(v.low?), f.y(v.high?)))).collect();
        band.split(Option::is_none)
            .for_each(|run| polygon(&mut s, &run.iter().flatten().copied().collect::<Vec<_>>()));
        let runs = values.iter().enumerate().map(|(i, v)| v.value.map(|x| (f.x(i), f.y(x))));
        line(&mut s, "line", runs);
        // A value between two unknown ones has no line to show it.
        for (i, v) in values.iter().enumerate().filter(|_| values.len() <= DOTS_MAX) {
            if let Some(x) = v.value {
                let _ = write!(
                    s,
                    r#"<circle class="dot" cx="{:.1}" cy="{:.1}" r="2"><title>{}: {}</title></circle>"#,
                    f.x(i),
                    f.y(x),
                    time(v.period.from_us, "%F"),
                    bare(x, unit)
                );
            }
        }
    }
    frame(
        &mut s,
        &bare(top, unit),
        values.first().map(|v| v.period.from_us),
        values.last().map(|v| v.period.from_us),
        "%b %d",
    );
    s
}

/// Returns the picture of an incident: requests against the usual band, and what was stopped.
pub(crate) fn incident(minutes: &[Map<String, Value>]) -> String {
    let get = |m: &Map<String, Value>, k: &str| m.get(k).and_then(Value::as_f64);
    let top = minutes.iter().filter_map(|m| get(m, "requests")).fold(0.0, f64::max);
    if minutes.len() < 2 || top <= 0.0 {
        return String::new();
    }
    let f = Frame { points: minutes.len(), top };
    let mut s = open(&format!("requests per minute, highest {}", bare(top, "requests")));
    let band: Vec<(f64, f64, f64)> = minutes
        .iter()
        .enumerate()
        .filter_map(|(i, m)| Some((f.x(i), f.y(get(m, "band_low")?), f.y(get(m, "band_high")?))))
        .collect();
    polygon(&mut s, &band);
    let series =
        |key: &'static str| minutes.iter().enumerate().map(move |(i, m)| get(m, key).map(|v| (i, v)));
    line(&mut s, "line", series("requests").map(|p| p.map(|(i, v)| (f.x(i), f.y(v)))));
    line(&mut s, "stopped", series("stopped_requests").map(|p| p.map(|(i, v)| (f.x(i), f.y(v)))));
    let at = |m: Option<&Map<String, Value>>| {
        let text = m?.get("minute")?.as_str()?;
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_micros()).or_else(|| {
            chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S")
                .ok()
                .map(|t| t.and_utc().timestamp_micros())
        })
    };
    frame(&mut s, &bare(top, "requests"), at(minutes.first()), at(minutes.last()), "%H:%M");
    s
}

fn open(label: &str) -> String {
    let label = label.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    format!(
        r#"<svg viewBox="0 0 {W} {H}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg">"#
    )
}

fn polygon(s: &mut String, band: &[(f64, f64, f64)]) {
    if band.len() < 2 {
        return;
    }
    let low = band.iter().map(|p| format!("{:.1},{:.1}", p.0, p.1));
    let high = band.iter().rev().map(|p| format!("{:.1},{:.1}", p.0, p.2));
    let all: Vec<String> = low.chain(high).collect();
    let _ = write!(s, r#"<polygon class="band" points="{}"/>"#, all.join(" "));
}

fn line(s: &mut String, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
    let mut path = String::new();
    let mut pen = false;
    for p in points {
        match p {
            Some((x, y)) => {
                let _ = write!(path, "{}{x:.1} {y:.1} ", if pen { 'L' } else { 'M' });
                pen = true;
            }
            None => pen = false,
        }
    }
    let _ = write!(s, r#"<path class="{class}" d="{}"/>"#, path.trim_end());
}

fn frame(s: &mut String, top: &str, first: Option<i64>, last: Option<i64>, form: &str) {
    let base = H - BOTTOM;
    let _ = write!(s, r#"<line class="axis" x1="{LEFT}" y1="{base}" x2="{}" y2="{base}"/>"#, W - LEFT);
    let _ = write!(s, r#"<text x="{LEFT}" y="10">{top}</text>"#);
    if let (Some(a), Some(b)) = (first, last) {
        let _ = write!(s, r#"<text x="{LEFT}" y="{}">{}</text>"#, H - 4.0, time(a, form));
        let _ =
            write!(s, r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#, W - LEFT, H - 4.0, time(b, form));
    }
    s.push_str("</svg>");
}
