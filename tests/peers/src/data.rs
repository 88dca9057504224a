//! Keys, values and who is asked for: the same for every engine.

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// Bytes of random values are cut from: larger than what compression looks back over would gain anything on.
const POOL_BYTES: usize = 1 << 20;

/// Skew of the zipf load, as in YCSB.
const ZIPF_THETA: f64 = 0.99;

/// A key of 16 bytes, of no order.
pub type Key = [u8; KEY_BYTES];

/// The key of this number: different numbers, different keys.
pub fn key_of(number: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&mix(number).to_be_bytes());
    second.copy_from_slice(&number.to_be_bytes());
    key
}

/// Turns neighbours into strangers; a bijection (splitmix64).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Values: eight bytes say whose, the rest is random.
#[derive(Debug, Clone)]
pub struct Values {
    pool: Vec<u8>,
    bytes: usize,
}

impl Values {
    /// Values of this length, eight at least.
    pub fn new(bytes: usize) -> Values {
        let pool = (0..(POOL_BYTES + bytes) as u64 / 8 + 1).flat_map(|at| mix(at).to_le_bytes()).collect();
        Values { pool, bytes: bytes.max(8) }
    }

    /// The value of the key of this number.
    pub fn of(&self, number: u64) -> Vec<u8> {
        let at = mix(number) as usize % POOL_BYTES;
        let mut value = self.pool[at..at + self.bytes].to_vec();
        value[..8].copy_from_slice(&number.to_le_bytes());
        value
    }

    /// Is this the value of that key, as far as one look tells?
    pub fn fits(&self, number: u64, value: &[u8]) -> bool {
        value.len() == self.bytes && value[..8] == number.to_le_bytes()
    }
}

/// Numbers below a bound, drawn evenly.
#[derive(Debug, Clone)]
pub struct Draw {
    state: u64,
}

impl Draw {
    /// Another seed, other numbers.
    pub fn new(seed: u64) -> Draw {
        Draw { state: mix(seed) }
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        (u128::from(self.next()) * u128::from(bound) >> 64) as u64
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Numbers below a bound, few of them often: Gray et al., as YCSB draws them, spread over all keys.
#[derive(Debug, Clone)]
pub struct Zipf {
    draw: Draw,
    count: u64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Over the numbers below `count`.
    pub fn new(count: u64, seed: u64) -> Zipf {
        let zeta = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-ZIPF_THETA)).sum::<f64>();
        let all = zeta(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - ZIPF_THETA)) / (1.0 - zeta(2) / all);
        Zipf { draw: Draw::new(seed), count, zeta: all, eta }
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        let share = self.draw.share();
        let scaled = share * self.zeta;
        let rank = if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5f64.powf(ZIPF_THETA) {
            1
        } else {
            (self.count as f64 * (self.eta * share - self.eta + 1.0).powf(1.0 / (1.0 - ZIPF_THETA))) as u64
        };
        mix(rank.min(self.count - 1)) % self.count
    }
}
