//! Time series as SVG for pages: lines, bands, bars, marks, with axes people can read.
//!
//! The same data leaves as JSON, so that a page with scripts can draw the same picture with a cursor.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::words::{bare, time};

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Class of the stroke: `line`, `stopped`, `missed`, `before`, `expected`.
    pub class: &'static str,
    /// One value per time; gaps stay gaps.
    pub values: Vec<Option<f64>>,
}

/// Something that happened at a time.
#[derive(Clone, Debug)]
pub struct Mark {
    /// When.
    pub at_us: i64,
    /// What.
    pub label: String,
}

/// A picture of values over time.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Title, also the accessible name.
    pub title: String,
    /// Unit of all values.
    pub unit: String,
    /// Start of each step, microseconds, growing.
    pub times: Vec<i64>,
    /// Lines; the first one is the subject.
    pub lines: Vec<Line>,
    /// Lower and upper end of what is usual or likely.
    pub band: Option<(Vec<Option<f64>>, Vec<Option<f64>>)>,
    /// Marks.
    pub marks: Vec<Mark>,
    /// Whether the first line is drawn as bars.
    pub bars: bool,
    /// Width and height; 0 takes 720 by 220.
    pub size: (u32, u32),
}

const LEFT: f64 = 58.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;
const TICKS_Y: usize = 4;
const MARKS_MAX: usize = 12;

struct Frame {
    w: f64,
    h: f64,
    from: f64,
    to: f64,
    top: f64,
}

impl Frame {
    fn x(&self, t: f64) -> f64 {
        LEFT + (self.w - LEFT - RIGHT) * ((t - self.from) / (self.to - self.from).max(1.0)).clamp(0.0, 1.0)
    }
    fn y(&self, v: f64) -> f64 {
        self.h - BOTTOM - (self.h - TOP - BOTTOM) * (v / self.top).clamp(0.0, 1.0)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

// A round number at or above a value: 1, 2 or 5 times a power of ten, in quarters people can read.
fn round_up(v: f64) -> f64 {
    if v <= 0.0 || !v.is_finite() {
        return 1.0;
    }
    let power = 10f64.powf(v.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|s| s * power).find(|s| *s >= v).unwrap_or(10.0 * power)
}

impl Plot {
    /// Returns the picture as SVG without styles of its own; an empty text when nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    pub fn svg(&self) -> String {
        let Some(f) = self.frame() else { return String::new() };
        let top = bare(f.top, &self.unit);
        let mut s = format!(
            r#"<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">"#,
            f.w,
            f.h,
            escaped(&format!("{}, up to {top}", self.title))
        );
        self.axes(&mut s, &f);
        if let Some((low, high)) = &self.band {
            self.band(&mut s, &f, low, high);
        }
        for (i, l) in self.lines.iter().enumerate().rev() {
            if i == 0 && self.bars { self.bars(&mut s, &f, l) } else { self.line(&mut s, &f, l) }
        }
        for m in self.marks.iter().take(MARKS_MAX) {
            let x = f.x(m.at_us as f64);
            let _ = write!(
                s,
                r#"<line class="mark" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{:.1}"><title>{}</title></line>"#,
                f.h - BOTTOM,
                escaped(&m.label)
            );
        }
        s.push_str("</svg>");
        s
    }

    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    fn frame(&self) -> Option<Frame> {
        let first = *self.times.first()?;
        let last = *self.times.last()?;
        let step = self.step();
        let highs = self.band.iter().flat_map(|b| b.1.iter().flatten());
        let values = self.lines.iter().flat_map(|l| l.values.iter().flatten());
        let top = values.chain(highs).copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
        let any = self.lines.iter().any(|l| l.values.iter().any(Option::is_some));
        let (w, h) = if self.size == (0, 0) { (720, 220) } else { self.size };
        any.then(|| Frame {
            w: f64::from(w),
            h: f64::from(h),
            from: first as f64,
            to: (last + if self.bars { step } else { 0 }) as f64,
            top: if self.unit == "share" && top <= 1.0 && top > 0.5 { 1.0 } else { round_up(top) },
        })
    }

    fn step(&self) -> i64 {
        self.times.windows(2).map(|w| w[1] - w[0]).filter(|s| *s > 0).min().unwrap_or(1)
    }

    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    fn axes(&self, s: &mut String, f: &Frame) {
        for i in 0..=TICKS_Y {
            let v = f.top * i as f64 / TICKS_Y as f64;
            let y = f.y(v);
            let class = if i == 0 { "axis" } else { "grid" };
            let _ = write!(
                s,
                r#"<line class="{class}" x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                f.w - RIGHT,
                LEFT - 6.0,
                y + 3.5,
                escaped(&bare(v, &self.unit))
            );
        }
        let span = f.to - f.from;
        let form = if span <= 36.0 * 3.6e9 {
            "%H:%M"
        } else if span <= 800.0 * 86.4e9 {
            "%b %d"
        } else {
            "%Y-%m"
        };
        let ticks = if f.w < 500.0 { 3 } else { 6 };
        for i in 0..=ticks {
            let t = f.from + span * f64::from(i) / f64::from(ticks);
            let anchor = if i == 0 {
                "start"
            } else if i == ticks {
                "end"
            } else {
                "middle"
            };
            #[expect(clippy::cast_possible_truncation, reason = "microseconds")]
            let label = time(t as i64, form);
            let _ = write!(
                s,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
                f.x(t),
                f.h - 6.0
            );
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    fn band(&self, s: &mut String, f: &Frame, low: &[Option<f64>], high: &[Option<f64>]) {
        let points: Vec<Option<(f64, f64, f64)>> = self
            .times
            .iter()
            .zip(low.iter().zip(high))
            .map(|(t, (l, h))| Some((f.x(*t as f64), f.y((*l)?), f.y((*h)?))))
            .collect();
        for run in points.split(Option::is_none) {
            let run: Vec<_> = run.iter().flatten().collect();
            if run.len() < 2 {
                continue;
            }
            let down = run.iter().map(|p| format!("{:.1},{:.1}", p.0, p.1));
            let up = run.iter().rev().map(|p| format!("{:.1},{:.1}", p.0, p.2));
            let all: Vec<String> = down.chain(up).collect();
            let _ = write!(s, r#"<polygon class="band" points="{}"/>"#, all.join(" "));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    fn line(&self, s: &mut String, f: &Frame, l: &Line) {
        let mut path = String::new();
        let mut pen = false;
        let alone = |i: usize| {
            let at = |j: Option<usize>| j.and_then(|j| l.values.get(j).copied().flatten()).is_some();
            !at(i.checked_sub(1)) && !at(Some(i + 1))
        };
        for (i, (t, v)) in self.times.iter().zip(&l.values).enumerate() {
            let Some(v) = v else {
                pen = false;
                continue;
            };
            let (x, y) = (f.x(*t as f64), f.y(*v));
            let _ = write!(path, "{}{x:.1} {y:.1} ", if pen { 'L' } else { 'M' });
            pen = true;
            // A value between two unknown ones has no line to show it.
            if alone(i) {
                let _ = write!(s, r#"<circle class="dot" cx="{x:.1}" cy="{y:.1}" r="2.2"/>"#);
            }
        }
        let _ = write!(s, r#"<path class="{}" d="{}"/>"#, l.class, path.trim_end());
    }

    #[expect(clippy::cast_precision_loss, reason = "times and pixels")]
    fn bars(&self, s: &mut String, f: &Frame, l: &Line) {
        let step = self.step() as f64;
        for (t, v) in self.times.iter().zip(&l.values) {
            let Some(v) = v else { continue };
            let (x, next) = (f.x(*t as f64), f.x(*t as f64 + step));
            let _ = write!(
                s,
                r#"<rect class="bar" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"><title>{}: {}</title></rect>"#,
                x + (next - x) * 0.1,
                f.y(*v),
                ((next - x) * 0.8).max(0.8),
                (f.h - BOTTOM - f.y(*v)).max(0.0),
                time(*t, "%F %H:%M"),
                escaped(&bare(*v, &self.unit))
            );
        }
    }

    /// Returns the data of the picture: `times` in seconds, `lines` with `name`, `class` and `values`, `band`,
    /// `marks`, `unit`, `bars`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "title": self.title,
            "unit": self.unit,
            "bars": self.bars,
            "times": self.times.iter().map(|t| t / 1_000_000).collect::<Vec<_>>(),
            "lines": self.lines.iter().map(|l| json!({"name": l.name, "class": l.class, "values": l.values})).collect::<Vec<_>>(),
            "band": self.band.as_ref().map(|(l, h)| json!([l, h])),
            "marks": self.marks.iter().map(|m| json!({"at": m.at_us / 1_000_000, "label": m.label})).collect::<Vec<_>>(),
        })
    }

    /// Returns whether there is anything to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.len() < 2 || self.frame().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_keeps_gaps_and_escapes_names() {
        let plot = Plot {
            title: "<script>".to_owned(),
            unit: "requests".to_owned(),
            times: (0..4).map(|i| i * 60_000_000).collect(),
            lines: vec![Line {
                name: "a".to_owned(),
                class: "line",
                values: vec![Some(1.0), None, Some(2.0), Some(3.0)],
            }],
            marks: vec![Mark { at_us: 60_000_000, label: "a \"deploy\"".to_owned() }],
            ..Plot::default()
        };
        let svg = plot.svg();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;"), "{svg}");
        assert_eq!(svg.matches(" M").count() + svg.matches("d=\"M").count(), 2, "two strokes: {svg}");
        assert!(svg.contains("&quot;deploy&quot;"));
        assert!(Plot::default().svg().is_empty() && Plot::default().is_empty());
    }
}
