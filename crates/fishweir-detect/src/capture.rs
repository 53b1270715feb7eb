//! How many things nobody saw, from how often two observers saw the same.

use crate::stats::wilson;

/// Things that neither observer saw, with a 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unseen {
    /// Best estimate (Chapman).
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

const SEEN_MIN: f64 = 5.0;

/// Returns how many things neither of two observers saw, given how many each saw and how many both did.
///
/// The bounds come from Wilson's intervals of the two chances of being seen, each judged by what the
/// other saw. Assumes that the observers are independent and that all things are as easy to see; where
/// both see best what is large, the estimate is too low.
///
/// # Errors
/// Too few seen to say anything, or none seen by both.
///
/// # Source
/// D. G. Chapman, "Some properties of the hypergeometric distribution with applications to zoological
/// sample censuses", 1951.
pub fn unseen(first: f64, second: f64, both: f64) -> Result<Unseen, String> {
    if first < SEEN_MIN || second < SEEN_MIN {
        return Err(format!("the detectors saw {first:.0} and {second:.0}; {SEEN_MIN:.0} each are needed"));
    }
    if both < 1.0 {
        return Err("nothing was seen by both detectors".to_owned());
    }
    let seen = first + second - both;
    let value = ((first + 1.0) * (second + 1.0) / (both + 1.0) - 1.0 - seen).max(0.0);
    let (Some(one), Some(two)) = (wilson(both, second), wilson(both, first)) else {
        return Err("nothing was seen".to_owned());
    };
    let at = |p: f64, q: f64| {
        let hidden = (1.0 - p) * (1.0 - q);
        seen * hidden / (1.0 - hidden).max(1e-9)
    };
    Ok(Unseen { value, low: at(one.high, two.high).min(value), high: at(one.low, two.low).max(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_case_and_the_limits() {
        // 200 fish, 100 caught, 100 caught, 50 of them twice: 50 were never seen.
        let u = unseen(100.0, 100.0, 50.0).unwrap();
        assert!((u.value - 49.0).abs() < 1.5 && u.low < 40.0 && u.high > 60.0, "{u:?}");
        let all = unseen(10.0, 10.0, 10.0).unwrap();
        assert!(all.value == 0.0 && all.low < 0.1 && all.high > 0.5, "never surely none: {all:?}");
        assert!(unseen(3.0, 10.0, 2.0).is_err() && unseen(10.0, 10.0, 0.0).is_err());
    }

    #[test]
    fn the_interval_holds_what_was_drawn() {
        let mut state = 11u64;
        let mut unit = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut held = 0;
        for _ in 0..200 {
            let (mut a, mut b, mut m, mut none) = (0.0, 0.0, 0.0, 0.0);
            for _ in 0..60 {
                let (x, y) = (unit() < 0.7, unit() < 0.5);
                a += f64::from(u8::from(x));
                b += f64::from(u8::from(y));
                m += f64::from(u8::from(x && y));
                none += f64::from(u8::from(!x && !y));
            }
            let u = unseen(a, b, m).unwrap();
            held += usize::from(u.low <= none && none <= u.high);
        }
        assert!(held >= 186, "{held} of 200");
    }
}
