//! When members watch: day, week, year, growth.

use crate::config::WorldConfig;

/// Local hour to relative demand: a deep trough at 04 to 05, a shoulder at noon, a peak at 20:30
/// to 22. Video shape, peak over mean 2.2 to 2.4, trough over peak 0.10 to 0.15.
const HOURS: [f64; 24] = [
    0.90, 0.55, 0.35, 0.27, 0.24, 0.24, 0.28, 0.36, 0.46, 0.54, 0.62, 0.70, 0.84, 0.86, 0.80, 0.80, 0.88,
    1.05, 1.35, 1.72, 2.12, 2.30, 2.05, 1.50,
];
const WEEKEND_DAYTIME: f64 = 1.45;
const FRIDAY_EVENING: f64 = 1.2;

/// Tables that turn a uniform number into a minute of the day.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    weekday: Vec<f64>,
    friday: Vec<f64>,
    weekend: Vec<f64>,
    sums: [Vec<f64>; 3],
    start_day: i64,
    yearly: bool,
}

fn curve(weekend: bool, late: bool) -> Vec<f64> {
    let hours: Vec<f64> = (0..24)
        .map(|h| {
            let day = if weekend && (9..18).contains(&h) { WEEKEND_DAYTIME } else { 1.0 };
            let evening = if late && h >= 18 { FRIDAY_EVENING } else { 1.0 };
            HOURS[h] * day * evening
        })
        .collect();
    // Straight lines between the middles of the hours.
    (0..1440)
        .map(|m| {
            let x = (m as f64 - 30.0).rem_euclid(1440.0) / 60.0;
            let (i, f) = (x as usize, x - libm::floor(x));
            hours[i % 24] * (1.0 - f) + hours[(i + 1) % 24] * f
        })
        .collect()
}

impl Calendar {
    pub(crate) fn new(start_us: i64, world: &WorldConfig) -> Self {
        let (weekday, friday, weekend) = (curve(false, false), curve(false, true), curve(true, true));
        let sums = [&weekday, &friday, &weekend].map(|shape| {
            shape
                .iter()
                .scan(0.0, |s, w| {
                    *s += w;
                    Some(*s)
                })
                .collect()
        });
        Self {
            weekday,
            friday,
            weekend,
            sums,
            start_day: start_us.div_euclid(86_400_000_000),
            yearly: world.yearly_season,
        }
    }

    // 1970-01-01 was a Thursday; 0 is Monday.
    fn weekday_of(&self, day: u32) -> i64 {
        (self.start_day + i64::from(day) + 3).rem_euclid(7)
    }

    fn shape(&self, day: u32) -> &[f64] {
        match self.weekday_of(day) {
            4 => &self.friday,
            5 | 6 => &self.weekend,
            _ => &self.weekday,
        }
    }

    /// Demand of a day relative to a mean day.
    pub(crate) fn level(&self, day: u32) -> f64 {
        let mean = |c: &[f64]| c.iter().sum::<f64>() / 1440.0;
        let week = (4.0 * mean(&self.weekday) + mean(&self.friday) + 2.0 * mean(&self.weekend)) / 7.0;
        let year = if self.yearly {
            let of_year = (self.start_day + i64::from(day)).rem_euclid(365) as f64;
            // Highest at the turn of the year, lowest in July.
            1.0 + 0.075 * libm::cos(std::f64::consts::TAU * (of_year - 5.0) / 365.0)
        } else {
            1.0
        };
        mean(self.shape(day)) / week * year
    }

    /// Demand of a local minute relative to the mean minute of that day.
    pub(crate) fn minute(&self, day: u32, minute: u32) -> f64 {
        let shape = self.shape(day);
        shape[(minute % 1440) as usize] / (shape.iter().sum::<f64>() / 1440.0)
    }

    /// Local second of the day for a uniform number, by inverse CDF.
    pub(crate) fn second(&self, day: u32, u: f64) -> f64 {
        let sums = match self.weekday_of(day) {
            4 => &self.sums[1],
            5 | 6 => &self.sums[2],
            _ => &self.sums[0],
        };
        let wanted = u * sums.last().copied().unwrap_or(1.0);
        let m = sums.partition_point(|s| *s <= wanted).min(1439);
        let below = if m == 0 { 0.0 } else { sums[m - 1] };
        (m as f64 + (wanted - below) / (sums[m] - below)) * 60.0
    }
}
