//! Rules against the truth: does the interval of a week's precision hold it?

use std::collections::BTreeMap;

use fishweir_labels::Estimate;

use super::{Rate, Score};

/// One rule in one week.
#[derive(Clone, Debug)]
pub(crate) struct RuleWeek {
    pub(crate) rule: String,
    pub(crate) hits: f64,
    pub(crate) right: f64,
    pub(crate) estimate: Option<Estimate>,
}

/// Hits below which a week says nothing about how right a rule is.
const HITS_MIN: f64 = 5.0;

/// Returns how often the interval holds the truth, how wide it is and how far off the estimate;
/// precision and recall of the judgement "mostly wrong" (truth below one half).
pub(crate) fn score(weeks: &[RuleWeek]) -> Score {
    let all: Vec<&RuleWeek> = weeks.iter().filter(|w| w.hits >= HITS_MIN).collect();
    let known: Vec<(&RuleWeek, Estimate, f64)> =
        all.iter().filter_map(|w| Some((*w, w.estimate?, w.right / w.hits))).collect();
    let holds = |e: &Estimate, t: f64| e.low - 1e-9 <= t && t <= e.high + 1e-9;
    let held = known.iter().filter(|(_, e, t)| holds(e, *t)).count();
    let mut beside: BTreeMap<&str, usize> = BTreeMap::new();
    for (w, ..) in known.iter().filter(|(_, e, t)| !holds(e, *t)) {
        *beside.entry(&w.rule).or_default() += 1;
    }
    let called = |e: &Estimate| e.value < 0.5;
    let bad = |t: f64| t < 0.5;
    let both = known.iter().filter(|(_, e, t)| called(e) && bad(*t)).count();
    let precision =
        Rate::of(both, known.iter().filter(|k| called(&k.1)).count(), "no rule was called mostly wrong");
    let recall = Rate::of(both, known.iter().filter(|k| bad(k.2)).count(), "no rule was mostly wrong");
    Score::new(precision, recall)
        .with("interval_holds_truth_in_rule_weeks", Rate::of(held, known.len(), "no rule-week has a value"))
        .with("rule_weeks_without_a_value", all.len() - known.len())
        .with("median_error", super::median(known.iter().map(|(_, e, t)| (e.value - t).abs()).collect()))
        .with("median_width", super::median(known.iter().map(|(_, e, _)| e.high - e.low).collect()))
        .with("interval_beside_the_truth", beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_beside_the_truth_is_counted_and_an_unknown_is_not() {
        let week = |right: f64, estimate: Option<(f64, f64, f64)>| RuleWeek {
            rule: "edge/x".to_owned(),
            hits: 100.0,
            right,
            estimate: estimate.map(|(value, low, high)| Estimate { value, low, high }),
        };
        let s = score(&[
            week(90.0, Some((0.9, 0.8, 1.0))),
            week(10.0, Some((0.9, 0.8, 1.0))),
            week(10.0, Some((0.1, 0.0, 0.2))),
            week(10.0, None),
        ]);
        let held = &s.detail["interval_holds_truth_in_rule_weeks"];
        assert_eq!((held["hits"].as_u64(), held["of"].as_u64()), (Some(2), Some(3)));
        assert_eq!(s.detail["rule_weeks_without_a_value"], 1);
        assert_eq!((s.found_true, s.found, s.truth), (1, 1, 2));
        assert!(score(&[]).precision.is_none());
    }
}
