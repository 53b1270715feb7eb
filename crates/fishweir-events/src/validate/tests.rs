use super::*;
use crate::KeyRing;
use arrow::array::Int64Array;

fn check(columns: Vec<(&str, ArrayRef)>) -> Canonical {
    let rows = columns.first().map_or(0, |c| c.1.len());
    let columns = columns.into_iter().map(|(n, a)| (n.to_owned(), a)).collect();
    let pseudonyms = KeyRing::generate([1; 32]).pseudonyms().unwrap();
    let rules = CanonicalRules {
        stream: Stream::Requests,
        source: "test",
        service: "edge",
        time_min_us: parse_time("2000-01-01").unwrap(),
        time_max_us: parse_time("2030-01-01").unwrap(),
        ingested_at_us: 0,
        ids_are_pseudonyms: false,
        pseudonyms: &pseudonyms,
        routes: &RouteRules::default(),
        agents: &AgentClasses::default(),
        networks: &NetworkTable::parse("198.51.100.0/24,64500,SE").unwrap(),
    };
    let out = rules
        .apply(&Mapped { rows, columns }, &mut Memory::default(), &|row, id| id.push_str(&format!("f-{row}")))
        .unwrap();
    assert_eq!(out.kept.len() + out.rejects.len(), rows, "every row is kept or refused");
    assert_eq!(out.batch.num_rows(), out.kept.len());
    out
}

fn text(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringViewArray>())
}

fn column<'a>(c: &'a Canonical, name: &str) -> &'a StringViewArray {
    c.batch.column_by_name(name).unwrap().as_string_view()
}

#[test]
fn good_rows_are_enriched_and_hidden() {
    let c = check(vec![
        ("time", text(&[Some("2026-10-05T14:30:00.25Z")])),
        ("method", text(&[Some("get")])),
        ("path", text(&[Some("/title/123?x=1")])),
        ("status", text(&[Some("200")])),
        ("ip", text(&[Some("198.51.100.7")])),
        ("user_agent", text(&[Some("curl/8")])),
    ]);
    assert_eq!(column(&c, "route").value(0), "/title/{id}");
    assert_eq!(column(&c, "method").value(0), "GET");
    assert_eq!(column(&c, "ip_prefix").value(0), "198.51.100.0/24");
    assert_eq!(column(&c, "country").value(0), "SE");
    assert_eq!(column(&c, "agent_class").value(0), "script");
    assert_eq!(column(&c, "service").value(0), "edge");
    assert!(column(&c, "ip").value(0).starts_with("k1."));
    let t = c.batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(t, parse_time("2026-10-05T14:30:00.25Z").unwrap());
}

#[test]
fn each_bad_value_has_a_reason() {
    let c = check(vec![
        (
            "time",
            text(&[
                Some("1970-01-01"),
                Some("2099-01-01T00:00:00Z"),
                Some("soon"),
                None,
                Some("1700000000"),
                Some("1700000000123"),
            ]),
        ),
        ("method", text(&[Some("GET"); 6])),
        ("path", text(&[Some("/"); 6])),
        ("status", text(&[Some("200"), Some("200"), Some("200"), Some("200"), Some("abc"), Some("999")])),
    ]);
    let reasons: Vec<_> = c.rejects.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "time: 1970-01-01T00:00:00Z lies before the earliest accepted time",
            "time: 2099-01-01T00:00:00Z lies after the latest accepted time",
            "time: `soon` is not a time",
            "time: missing",
            "status: `abc` is not a whole number",
            "status: 999 lies outside 100 to 599",
        ]
    );
}

#[test]
fn numbers_become_times_by_size() {
    let n: ArrayRef =
        Arc::new(Int64Array::from(vec![1_700_000_000, 1_700_000_000_000, 1_700_000_000_000_000]));
    let c = check(vec![
        ("time", n),
        ("method", text(&[Some("GET"); 3])),
        ("path", text(&[Some("/"); 3])),
        ("status", text(&[Some("200"); 3])),
    ]);
    let t = c.batch.column(0).as_primitive::<TimestampMicrosecondType>();
    assert!(t.iter().all(|v| v == Some(1_700_000_000_000_000)));
}

#[test]
fn unknown_words_are_refused_with_the_allowed_ones() {
    let c = check(vec![
        ("time", text(&[Some("2026-10-05")])),
        ("method", text(&[Some("GET")])),
        ("path", text(&[Some("/")])),
        ("status", text(&[Some("200")])),
        ("action", text(&[Some("explode")])),
    ]);
    assert_eq!(
        c.rejects[0].reason,
        "action: `explode` is none of allow, log, challenge, step_up, limit, block"
    );
}
