//! Keyed randomness: every draw is a pure function of key, entity, day, purpose and position.
//!
//! Philox4x32-10 (Salmon et al., SC'11). Nothing is drawn from a shared stream, so the number of
//! threads, the order of work and the presence of other entities change no draw.

const M: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const W: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Returns the Philox4x32-10 block of a counter.
pub(crate) fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = u64::from(M[0]) * u64::from(c[0]);
        let p1 = u64::from(M[1]) * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(W[0]), k[1].wrapping_add(W[1])];
    }
    c
}

/// What a draw is for; each purpose has draws of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Purpose {
    Account = 1,
    Device,
    Network,
    Day,
    Visit,
    Outcome,
    Sparse,
    Campaign,
    CampaignTick,
    Adapt,
    Takeover,
    Happening,
    Source,
    Title,
    Note,
    Respond,
    Counts,
    Abuse,
    Twin,
}

/// Key of one simulation, from seed and scenario name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u32; 2]);

impl Key {
    pub(crate) fn new(seed: u64, world: &str) -> Self {
        let hash = blake3::Hasher::new().update(&seed.to_le_bytes()).update(world.as_bytes()).finalize();
        let b = hash.as_bytes();
        let word = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        Self([word(0), word(4)])
    }

    /// Draws of an entity on a day for a purpose; `seq` tells apart up to 4096 uses of the same
    /// kind, each with room for 1024 numbers of 64 bits before it meets the next.
    pub(crate) fn draws(self, entity: u64, day: u32, purpose: Purpose, seq: u32) -> Draws {
        let low = (purpose as u32) << 21;
        Draws {
            key: self.0,
            counter: [entity as u32, (entity >> 32) as u32, day, low.wrapping_add(seq << 9)],
            block: [0; 4],
            used: 4,
        }
    }

    /// Returns an opaque number of the same width that no other number maps to.
    pub(crate) fn veil(self, n: u64) -> u64 {
        let mut z = n ^ (u64::from(self.0[0]) << 32 | u64::from(self.0[1]));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A sequence of draws.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Draws {
    fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[3] = self.counter[3].wrapping_add(1);
            self.used = 0;
        }
        let w = self.block[self.used];
        self.used += 1;
        w
    }

    pub(crate) fn bits(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    /// Uniform in (0, 1), 32 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (f64::from(self.word()) + 0.5) / 4_294_967_296.0
    }

    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        if n <= u64::from(u32::MAX) {
            return (u64::from(self.word()) * n.max(1)) >> 32;
        }
        (u128::from(self.bits()) * u128::from(n)) as u64
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(self.unit())
    }

    /// Poisson draw; normal approximation above 60.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 60.0 {
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

    /// Gamma draw of shape `k` and mean `k·theta` (Marsaglia and Tsang).
    pub(crate) fn gamma(&mut self, k: f64, theta: f64) -> f64 {
        if k < 1.0 {
            let u = self.unit();
            return self.gamma(k + 1.0, theta) * libm::pow(u, 1.0 / k);
        }
        let d = k - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if libm::log(self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v * theta;
            }
        }
    }

    /// Negative-binomial draw of a mean and a dispersion `k`.
    pub(crate) fn negative_binomial(&mut self, mean: f64, k: f64) -> u64 {
        let rate = self.gamma(k, mean / k);
        self.poisson(rate)
    }

    /// Index drawn by weight.
    pub(crate) fn pick(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let total: f64 = weights.clone().sum();
        let mut u = self.unit() * total;
        let mut last = 0;
        for (i, w) in weights.enumerate() {
            last = i;
            if u < w {
                break;
            }
            u -= w;
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // Vectors of the authors' reference implementation.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox(pi, [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn means_are_right() {
        let key = Key::new(1, "test");
        let mean = |f: &mut dyn FnMut(&mut Draws) -> f64| {
            let sum: f64 = (0..20_000).map(|i| f(&mut key.draws(i, 0, Purpose::Account, 0))).sum();
            sum / 20_000.0
        };
        assert!((mean(&mut |d| d.unit()) - 0.5).abs() < 0.01);
        assert!((mean(&mut |d| d.poisson(3.0) as f64) - 3.0).abs() < 0.06);
        assert!((mean(&mut |d| d.negative_binomial(3.0, 1.2) as f64) - 3.0).abs() < 0.12);
        assert!((mean(&mut |d| d.gamma(0.6, 2.0)) - 1.2).abs() < 0.06);
        assert!((mean(&mut |d| d.normal()) - 0.0).abs() < 0.03);
    }
}
