//! Tools: programs that hardly any member has, told day by day.

use fishweir_engine::hash64;
use fishweir_pipeline::{Catalog, DAY_US, Interval, MINUTE_US, PipelineError};

use crate::homes::{self, Homes};

/// Days before those in question from which on tools are told: what is usual of them is known by then.
const TAUGHT_DAYS: i64 = 8;

/// Which programs members have on each day of a span; minutes count from its start.
#[derive(Default)]
pub(crate) struct Tools {
    span_us: i64,
    first_day_us: i64,
    homes: Vec<Option<Homes>>,
}

impl Tools {
    /// Returns the tools of the days around `focus`, each by who watched on the days before it.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub(crate) async fn load(
        catalog: &Catalog,
        span: Interval,
        focus: Interval,
    ) -> Result<Self, PipelineError> {
        let from_us = span.from_us.max(focus.from_us - TAUGHT_DAYS * DAY_US);
        let first_day_us = from_us - from_us.rem_euclid(DAY_US);
        let homes = homes::load_days(catalog, Interval::new(first_day_us, span.to_us)).await?;
        Ok(Self { span_us: span.from_us, first_day_us, homes })
    }

    fn homes(&self, minute: usize) -> Option<&Homes> {
        let us = self.span_us + i64::try_from(minute).ok()? * MINUTE_US;
        self.homes.get(usize::try_from((us - self.first_day_us).div_euclid(DAY_US)).ok()?)?.as_ref()
    }

    /// Returns whether tools can be told in a minute.
    pub(crate) fn are_told(&self, minute: usize) -> bool {
        self.homes(minute).is_some()
    }

    /// Returns whether a fingerprint is that of a tool in a minute; never where none is known.
    pub(crate) fn is_tool(&self, minute: usize, ja4: &str) -> bool {
        !ja4.is_empty() && self.homes(minute).is_some_and(|h| !h.has_program(hash64(ja4)))
    }

    /// Returns the condition on raw requests that come from tools, by what is told in a minute.
    pub(crate) fn condition(&self, minute: usize) -> String {
        let mut members: Vec<String> =
            self.homes(minute).into_iter().flat_map(Homes::programs).map(|p| p.to_string()).collect();
        members.sort_unstable();
        let members = if members.is_empty() { "NULL".to_owned() } else { members.join(", ") };
        format!("(coalesce(ja4, '') <> '' AND hash64(ja4) NOT IN ({members}))")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Watched with the browser from the second day on.
    fn tools() -> Tools {
        let mut homes = Homes::default();
        homes.add(Some(hash64("browser")), 64_500);
        Tools { span_us: 0, first_day_us: DAY_US, homes: vec![None, Some(homes)] }
    }

    #[test]
    fn a_tool_is_told_once_it_is_known_who_watches() {
        let at = 2 * 1_440 + 5;
        assert!(tools().is_tool(at, "tool") && !tools().is_tool(at, "browser"));
        assert!(!tools().is_tool(at, ""), "no fingerprint, no tool");
        for unknown in [5, 1_440 + 5, 3 * 1_440] {
            assert!(!tools().are_told(unknown) && !tools().is_tool(unknown, "tool"), "{unknown}");
        }
    }

    #[test]
    fn the_condition_leaves_out_the_programs_of_members() {
        let browser = hash64("browser");
        let told = tools().condition(2 * 1_440);
        assert_eq!(told, format!("(coalesce(ja4, '') <> '' AND hash64(ja4) NOT IN ({browser}))"));
        assert!(tools().condition(0).ends_with("NOT IN (NULL))"), "none where they are not told");
    }
}
