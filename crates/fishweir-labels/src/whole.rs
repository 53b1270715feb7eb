//! Whether a burst that one mark shows is there in all strangers, or only moved between marks.

const DAY_MIN: usize = 24 * 60;
/// Deviations of a count that an excess must have for its absence in the whole to mean something.
const CLEAR_Z: f64 = 3.0;
/// Share of the minutes that must be known on each of the days compared.
const KNOWN_SHARE: f64 = 0.9;

/// Returns the share of a burst's excess that all strangers of the same minutes show, 0 to 1.
///
/// The usual is the lower of what the same minutes brought on the day before and a week before: a free day is held against
/// no working day. `None` where one of these is not known or is part of the burst, and where chance moves the whole by as
/// much as a third of the excess.
#[expect(clippy::cast_precision_loss, reason = "minutes")]
pub(crate) fn whole_share(all: &[f64], (start, end): (usize, usize), excess: f64) -> Option<f64> {
    let length = end + 1 - start;
    let back = |days: usize| -> Option<f64> {
        let from = start.checked_sub(days * DAY_MIN)?;
        let known: Vec<f64> = all.get(from..from + length)?.iter().copied().filter(|k| !k.is_nan()).collect();
        let share = known.len() as f64 / length as f64;
        (share >= KNOWN_SHARE).then(|| known.iter().sum::<f64>() / share)
    };
    if length > DAY_MIN {
        return None;
    }
    let usual = back(1)?.min(back(7)?);
    // Both the count and what it is held against are counts.
    let deviation = (2.0 * usual.max(1.0)).sqrt();
    (excess >= CLEAR_Z * deviation).then_some(())?;
    let seen = back(0)?;
    Some(((seen - usual) / excess).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Eight days of ten strangers a minute, eight at weekends (days 0 and 7), and what came in the last hour.
    fn days(last_hour: f64) -> Vec<f64> {
        let mut all: Vec<f64> =
            (0..8 * DAY_MIN).map(|m| if (m / DAY_MIN).is_multiple_of(7) { 8.0 } else { 10.0 }).collect();
        let n = all.len();
        all[n - 60..].iter_mut().for_each(|k| *k = last_hour);
        all
    }

    fn last_hour() -> (usize, usize) {
        (8 * DAY_MIN - 60, 8 * DAY_MIN - 1)
    }

    #[test]
    fn what_only_moved_between_marks_is_not_in_the_whole_and_what_came_is() {
        assert_eq!(whole_share(&days(8.0), last_hour(), 300.0), Some(0.0), "a free day like the last");
        assert_eq!(whole_share(&days(13.0), last_hour(), 300.0), Some(1.0));
        assert_eq!(whole_share(&days(10.5), last_hour(), 300.0), Some(0.5));
    }

    #[test]
    fn nothing_is_said_of_little_or_without_the_days_before() {
        assert_eq!(whole_share(&days(8.0), last_hour(), 90.0), None, "chance moves the whole as much");
        assert_eq!(whole_share(&days(8.0)[DAY_MIN..], (7 * DAY_MIN - 60, 7 * DAY_MIN - 1), 300.0), None);
        let mut gap = days(8.0);
        gap[DAY_MIN - 60..DAY_MIN].fill(f64::NAN);
        assert_eq!(whole_share(&gap, last_hour(), 300.0), None);
    }
}
