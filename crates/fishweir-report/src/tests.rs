//! Words and pictures as readers meet them.

use fishweir_metrics::{Direction, Interval, MetricValue};

use crate::charts::trend;
use crate::words::{amount, change, interval, verdict};

fn value(v: Option<f64>, low: f64, high: f64) -> MetricValue {
    MetricValue {
        period: Interval::new(0, 86_400_000_000),
        label: None,
        value: v,
        low: v.map(|_| low),
        high: v.map(|_| high),
        n: 10.0,
        coverage: 1.0,
        label_source: "test".to_owned(),
        maturity: "final",
        reason: v.is_none().then(|| "no sealed data".to_owned()),
        breaks: Vec::new(),
    }
}

#[test]
fn numbers_read_like_a_person_wrote_them() {
    for (v, unit, words) in [
        (1.0, "attacks", "1 attack"),
        (1_175_267.0, "requests", "1,175,267 requests"),
        (12_345_678.0, "requests", "12.3 million requests"),
        (0.5937, "share", "59.4 %"),
        (0.0008, "share", "0.08 %"),
        (13.3, "US dollars", "$13.30"),
        (1234.4, "US dollars", "$1,234"),
        (90.0, "seconds", "1 min 30 s"),
        (7260.0, "seconds", "2 h 1 min"),
        (1500.0, "microseconds", "1.5 ms"),
        (7.0, "members", "fewer than 20 members"),
        (0.0, "members", "0 members"),
    ] {
        assert_eq!(amount(v, unit), words);
    }
}

#[test]
fn comparisons_never_hide_the_unknown() {
    let known = value(Some(10.0), 9.0, 11.0);
    let none = value(None, 0.0, 0.0);
    assert_eq!(
        change(&known, Some(&value(Some(8.0), 8.0, 8.0)), "before", "attacks"),
        "before: 8 attacks (+25 %)"
    );
    assert_eq!(change(&known, Some(&none), "before", "attacks"), "before: unknown (no sealed data)");
    assert_eq!(change(&known, Some(&value(Some(0.0), 0.0, 0.0)), "before", "attacks"), "before: 0 attacks");
    assert_eq!(verdict(&known, Some(&value(Some(5.0), 4.0, 6.0)), Direction::LowerIsBetter), "worse");
    assert_eq!(verdict(&known, Some(&value(Some(9.5), 8.0, 10.0)), Direction::LowerIsBetter), "");
    assert_eq!(verdict(&known, Some(&none), Direction::LowerIsBetter), "");
    assert_eq!(interval(&known, "attacks"), "9 to 11");
    assert_eq!(interval(&value(Some(3.0), 3.0, 3.0), "attacks"), "");
}

#[test]
fn a_period_of_which_less_is_known_is_no_measure() {
    let whole = value(Some(10.0), 10.0, 10.0);
    let partial = MetricValue { coverage: 0.43, ..value(Some(0.0), 0.0, 0.0) };
    let said = change(&whole, Some(&partial), "before", "attacks");
    assert_eq!(said, "before: 0 attacks in the 43 % of it that is known");
    assert_eq!(verdict(&whole, Some(&partial), Direction::LowerIsBetter), "");
    let said = change(&partial, Some(&whole), "before", "attacks");
    assert_eq!(said, "before: 10 attacks (not compared: only 43 % of this period is known)");
    assert_eq!(verdict(&partial, Some(&whole), Direction::LowerIsBetter), "");
}

#[test]
fn gaps_of_a_trend_stay_gaps() {
    let values = [value(Some(5.0), 4.0, 6.0), value(None, 0.0, 0.0), value(Some(7.0), 6.0, 8.0)];
    let svg = trend(&values, "requests", "R & D <x>", false);
    assert_eq!(svg.matches("<circle").count(), 2);
    assert!(!svg.contains(" L"), "no line crosses the gap: {svg}");
    assert!(svg.contains("R &amp; D &lt;x>"));
    assert_eq!(trend(&[], "requests", "", false), "");
}
