//! Common and combined access logs.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder, TimestampMicrosecondBuilder};

pub(crate) const FIELDS: [&str; 12] = [
    "ip",
    "ident",
    "user",
    "time",
    "request",
    "method",
    "path",
    "protocol",
    "status",
    "bytes",
    "referer",
    "user_agent",
];

/// Collects parsed lines in columns.
pub(crate) struct AccessLog {
    text: Vec<StringViewBuilder>,
    time: TimestampMicrosecondBuilder,
}

const TIME: usize = 3;

impl AccessLog {
    pub(crate) fn new() -> Self {
        Self {
            text: FIELDS.iter().map(|_| StringViewBuilder::new()).collect(),
            time: TimestampMicrosecondBuilder::new(),
        }
    }

    pub(crate) fn push(&mut self, line: &str) -> Result<(), String> {
        let parsed = parse(line)?;
        for (i, b) in self.text.iter_mut().enumerate() {
            b.append_option(parsed.cells.get(i).and_then(|c| c.as_deref()));
        }
        self.time.append_value(parsed.time_us);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<(String, ArrayRef)> {
        let mut out = Vec::with_capacity(FIELDS.len());
        for (i, name) in FIELDS.iter().enumerate() {
            let array: ArrayRef = if i == TIME {
                Arc::new(self.time.finish().with_timezone("UTC"))
            } else {
                match self.text.get_mut(i) {
                    Some(b) => Arc::new(b.finish()),
                    None => continue,
                }
            };
            out.push(((*name).to_owned(), array));
        }
        out
    }
}

struct Line<'a> {
    cells: [Option<std::borrow::Cow<'a, str>>; 12],
    time_us: i64,
}

fn plain(s: &str) -> Option<std::borrow::Cow<'_, str>> {
    Some(std::borrow::Cow::Borrowed(s))
}

fn parse(line: &str) -> Result<Line<'_>, String> {
    let bad = |what: &str| format!("no access-log line: {what}");
    let (ip, rest) = line.split_once(' ').ok_or_else(|| bad("no space after the address"))?;
    let (ident, rest) = rest.split_once(' ').ok_or_else(|| bad("the identity field is missing"))?;
    let bracket = rest.find(" [").ok_or_else(|| bad("no `[` before the time"))?;
    let (user, rest) = rest.split_at(bracket);
    let rest = rest.get(2..).unwrap_or_default();
    let (time, rest) = rest.split_once(']').ok_or_else(|| bad("no `]` after the time"))?;
    let time_us = log_time(time).ok_or_else(|| bad("the time is not like 19/Apr/2005:16:05:03 -0400"))?;
    let (request, rest) = quoted(rest.trim_start()).ok_or_else(|| bad("the request is not quoted"))?;
    let mut tail = rest.trim_start().splitn(3, ' ');
    let status = tail.next().filter(|s| s.len() == 3 && s.bytes().all(|b| b.is_ascii_digit()));
    let status = status.ok_or_else(|| bad("no three-digit status after the request"))?;
    let bytes = tail.next().map(str::trim_end).filter(|b| *b != "-");
    let rest = tail.next().unwrap_or_default();
    let (referer, rest) = match quoted(rest.trim_start()) {
        Some((r, rest)) => (Some(r), rest),
        None if rest.trim().is_empty() => (None, ""),
        None => return Err(bad("the referer is not quoted")),
    };
    let user_agent = match quoted(rest.trim_start()) {
        Some((agent, _)) => Some(agent),
        None if rest.trim().is_empty() => None,
        None => return Err(bad("the user agent is not quoted")),
    };
    let (method, path, protocol) = request_parts(&request);
    let owned = |s: Option<&str>| s.map(|s| std::borrow::Cow::Owned(s.to_owned()));
    let (method, path, protocol) = (owned(method), owned(path), owned(protocol));

    Ok(Line {
        cells: [
            plain(ip),
            plain(ident),
            plain(user).filter(|u| u != "-"),
            None,
            Some(request),
            method,
            path,
            protocol,
            plain(status),
            bytes.and_then(plain),
            referer,
            user_agent,
        ],
        time_us,
    })
}

fn request_parts(request: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let mut parts = request.splitn(2, ' ');
    let method = parts.next().filter(|m| {
        (1..=20).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_')
    });
    let rest = parts.next().map(str::trim).filter(|r| !r.is_empty());
    let (Some(method), Some(rest)) = (method, rest) else { return (None, None, None) };
    match rest.rsplit_once(' ') {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => {
            (Some(method), Some(path.trim()), Some(protocol))
        }
        _ => (Some(method), Some(rest), None),
    }
}

// Returns the quoted text, with `\"` and `\\` undone, and what follows it.
fn quoted(text: &str) -> Option<(std::borrow::Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (i, b) in inner.bytes().enumerate() {
        match b {
            b'"' if !escaped => {
                let (body, rest) = inner.split_at(i);
                let body = if body.contains('\\') {
                    body.replace("\\\"", "\"").replace("\\\\", "\\").into()
                } else {
                    body.into()
                };
                return Some((body, rest.get(1..).unwrap_or_default()));
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// `19/Apr/2005:16:05:03 -0400` in microseconds UTC.
fn log_time(text: &str) -> Option<i64> {
    let (stamp, zone) = text.split_once(' ')?;
    let mut parts = stamp.splitn(4, ':');
    let mut date = parts.next()?.split('/');
    let day: u32 = date.next()?.parse().ok()?;
    let month = date.next()?;
    let month = u32::try_from(MONTHS.iter().position(|m| *m == month)?).ok()? + 1;
    let year: i32 = date.next()?.parse().ok()?;
    let day = chrono::NaiveDate::from_ymd_opt(year, month, day)?;
    let mut next = || parts.next()?.parse::<u32>().ok();
    let at = day.and_hms_opt(next()?, next()?, next()?)?;
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", z) => (1, z),
        ("-", z) => (-1, z),
        _ => return None,
    };
    let (h, m) = zone.split_at_checked(2)?;
    let offset_s = (h.parse::<i64>().ok()? * 60 + m.parse::<i64>().ok()?) * 60 * sign;
    Some(at.and_utc().timestamp_micros() - offset_s * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(line: &str) -> Vec<String> {
        let l = parse(line).unwrap();
        l.cells.iter().map(|c| c.as_deref().unwrap_or("∅").to_owned()).collect()
    }

    #[test]
    fn combined_common_and_odd_lines() {
        let c = cells(
            r#"1.2.3.4 - bob smith [19/Apr/2005:16:05:03 -0400] "GET /a b?q=\"x\" HTTP/1.0" 404 208 "-" "ua \"q\"""#,
        );
        assert_eq!(c[2], "bob smith");
        assert_eq!((c[5].as_str(), c[6].as_str(), c[7].as_str()), ("GET", "/a b?q=\"x\"", "HTTP/1.0"));
        assert_eq!((c[8].as_str(), c[9].as_str(), c[11].as_str()), ("404", "208", "ua \"q\""));
        let c = cells(r#"::1 - - [01/Jan/2026:00:00:00 +0000] "-" 408 -"#);
        assert_eq!((c[5].as_str(), c[9].as_str(), c[11].as_str()), ("∅", "∅", "∅"));
        let c = cells(r#"1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] "\x16\x03\x01" 400 226 "-" "-""#);
        assert_eq!(c[6], "∅");
        assert_eq!(log_time("19/Apr/2005:16:05:03 -0400"), Some(1_113_941_103_000_000));
        for bad in [
            "",
            "x",
            "1.2.3.4 - - [19/Foo/2005:16:05:03 -0400] \"G\" 200 1",
            "a b c [d",
            "1.2.3.4 - - [01/Jan/2026:00:00:00 +0000] \"GET / HTTP/1.0\" OK 1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
