//! How often a rule was right, from what its hits did before and after.

use fishweir_detect::wilson;

/// Hits of a rule by what tells good from bad, in the order in which it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// All hits.
    pub hits: f64,
    /// Sum over clients and days of their squared hits: how much one client repeats another.
    pub hits_squared: f64,
    /// Of clients that watch: a licence granted around the hit or from the same network days before; and of
    /// known clients that were stopped and whose member called because he could not sign in or play.
    pub good_watched: f64,
    /// Of known clients during a surge that was no attack, on its routes.
    pub good_crowd: f64,
    /// Of strangers during an attack, on its routes.
    pub bad_attack: f64,
    /// Of clients that failed a challenge and passed none.
    pub bad_failed: f64,
    /// Of strangers that went on and on and never watched.
    pub bad_kept_on: f64,
}

/// An estimate of a share with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Best estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Independent clients below which nothing is said.
const CLIENTS_MIN: f64 = 5.0;
/// Share of the telling hits that the tell itself may get wrong.
const TELL_ERROR: f64 = 0.03;
/// Share of hits that nothing tells about above which no best estimate is given.
const UNCLEAR_MAX: f64 = 0.5;

impl Tally {
    /// Adds the hits of another day or mode.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.hits_squared += other.hits_squared;
        self.good_watched += other.good_watched;
        self.good_crowd += other.good_crowd;
        self.bad_attack += other.bad_attack;
        self.bad_failed += other.bad_failed;
        self.bad_kept_on += other.bad_kept_on;
    }

    /// Returns the hits that were right by what is known.
    #[must_use]
    pub fn bad(&self) -> f64 {
        self.bad_attack + self.bad_failed + self.bad_kept_on
    }

    /// Returns the hits that were wrong by what is known.
    #[must_use]
    pub fn good(&self) -> f64 {
        self.good_watched + self.good_crowd
    }

    /// Returns the hits that nothing tells about.
    #[must_use]
    pub fn unclear(&self) -> f64 {
        (self.hits - self.bad() - self.good()).max(0.0)
    }

    /// Returns how many independent clients the hits are worth (Kish's effective size).
    #[must_use]
    pub fn effective(&self) -> f64 {
        if self.hits_squared > 0.0 { self.hits * self.hits / self.hits_squared } else { 0.0 }
    }

    /// Returns what most of the telling hits were judged by.
    #[must_use]
    pub fn basis(&self) -> &'static str {
        let consequences = self.good_watched + self.bad_failed + self.bad_kept_on;
        if consequences >= self.good_crowd + self.bad_attack { "consequences" } else { "incidents" }
    }

    /// Returns the share of hits that were right: Wilson's interval over independent clients, opened
    /// further by taking the unclear hits for wrong at its lower and right at its upper end, and by three
    /// points for tells that are wrong.
    ///
    /// # Errors
    /// Why no best estimate is given.
    pub fn precision(&self) -> Result<Estimate, &'static str> {
        if self.hits <= 0.0 {
            return Err("no hits");
        }
        let told = (self.bad() + self.good()) / self.hits;
        let n = self.effective() * told;
        if n < CLIENTS_MIN {
            return Err("too few independent clients whose behaviour tells anything");
        }
        if 1.0 - told > UNCLEAR_MAX {
            return Err("nothing tells good from bad for most of the hits");
        }
        let value = self.bad() / (self.bad() + self.good());
        let w = wilson(value * n, n).ok_or("no hits")?;
        let unclear = 1.0 - told;
        let low = (w.low * told - TELL_ERROR).max(0.0);
        Ok(Estimate { value, low, high: (w.high * told + unclear + TELL_ERROR).min(1.0) })
    }
}

/// Attack requests on the routes of a rule: best, low, high.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attacked {
    /// Best estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end: no more can have been an attack.
    pub high: f64,
}

/// Returns the share of the attack requests on its routes that a rule met.
///
/// # Errors
/// Why there is none.
pub fn recall(tally: &Tally, attacked: &Attacked) -> Result<Estimate, &'static str> {
    let bad = tally.bad();
    let most = bad + tally.unclear();
    let all = attacked.value.max(bad);
    if all <= 0.0 {
        return Err("no attack is known on the routes of the rule");
    }
    let low = bad / attacked.high.max(all).max(most);
    let high = (most / attacked.low.max(most)).min(1.0);
    Ok(Estimate { value: bad / all, low, high: high.max(bad / all) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(good: f64, bad: f64, unclear: f64) -> Tally {
        Tally {
            hits: good + bad + unclear,
            hits_squared: good + bad + unclear,
            good_watched: good,
            bad_attack: bad,
            ..Tally::default()
        }
    }

    #[test]
    fn what_nothing_tells_about_opens_the_interval() {
        let sure = tally(10.0, 90.0, 0.0).precision().unwrap();
        let unsure = tally(10.0, 90.0, 50.0).precision().unwrap();
        assert!((sure.value - 0.9).abs() < 1e-9 && (unsure.value - 0.9).abs() < 1e-9);
        assert!(unsure.low < sure.low && unsure.high >= sure.high - 1e-9, "{sure:?} {unsure:?}");
        assert!(tally(1.0, 2.0, 90.0).precision().is_err());
        assert!(tally(0.0, 0.0, 0.0).precision().is_err());
    }

    #[test]
    fn a_client_that_hits_a_thousand_times_is_one_client() {
        let one = Tally { hits_squared: 1e6, ..tally(0.0, 1_000.0, 0.0) };
        assert_eq!(one.precision(), Err("too few independent clients whose behaviour tells anything"));
        let ten = Tally { hits_squared: 1e5, ..tally(0.0, 1_000.0, 0.0) };
        assert!(ten.precision().unwrap().low < 0.8);
    }

    #[test]
    fn recall_without_a_known_attack_is_unknown() {
        let t = tally(3.0, 0.0, 0.0);
        assert!(recall(&t, &Attacked::default()).is_err());
        let half =
            recall(&tally(0.0, 50.0, 0.0), &Attacked { value: 100.0, low: 80.0, high: 200.0 }).unwrap();
        assert!((half.value - 0.5).abs() < 1e-9 && half.low == 0.25 && half.high == 0.625, "{half:?}");
    }
}
