//! Keyed randomness: every draw is a pure function of seed, purpose and counters.

/// A stream of draws for one purpose.
#[derive(Clone, Debug)]
pub(crate) struct Draws(u64);

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Returns a number that depends on all keys.
pub(crate) fn key(seed: u64, purpose: u64, a: u64, b: u64) -> u64 {
    let mut k = mix(seed ^ 0x9E37_79B9_7F4A_7C15);
    for part in [purpose, a, b] {
        k = mix(k.wrapping_add(part.wrapping_mul(0xD1B5_4A32_D192_ED03)).wrapping_add(0x9E37_79B9_7F4A_7C15));
    }
    k
}

impl Draws {
    pub(crate) fn new(seed: u64, purpose: u64, a: u64, b: u64) -> Self {
        Self(key(seed, purpose, a, b))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n.max(1))) >> 64) as u64
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let u = self.unit().max(1e-12);
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * self.unit())
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// Poisson draw; normal approximation above 50.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and not negative")]
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return libm::round(mean + libm::sqrt(mean) * self.normal()).max(0.0) as u64;
        }
        let limit = libm::exp(-mean.max(0.0));
        let (mut n, mut p) = (0, self.unit());
        while p > limit {
            n += 1;
            p *= self.unit();
        }
        n
    }
}
