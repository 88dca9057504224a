//! Which key the next request is about.

use crate::base::Random;
use std::str::FromStr;

/// YCSB's skew: the hottest of a million keys gets about seven percent of the requests.
const ZIPF_SKEW: f64 = 0.99;

/// How requests spread over the keys that exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distribution {
    /// Every key alike.
    Uniform,
    /// A few keys get most requests, wherever they lie.
    Zipf,
    /// The newest keys get most requests.
    Latest,
    /// So many percent of the requests go to so many percent of the keys.
    HotSet {
        /// Percent of the keys.
        keys: u32,
        /// Percent of the requests.
        requests: u32,
    },
}

/// Draws keys by their numbers. Keys `0..count` exist; inserting makes the next.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    distribution: Distribution,
    ranks: Zipf,
    count: u64,
}

/// Ranks by Zipf's law in constant time, as YCSB draws them (Gray et al., "Quickly generating
/// billion-record synthetic databases", SIGMOD 1994).
#[derive(Debug, Clone)]
struct Zipf {
    ranks: u64,
    zeta: f64,
    eta: f64,
    alpha: f64,
}

impl Distribution {
    /// As it is written on the command line.
    pub(super) fn text(self) -> String {
        match self {
            Distribution::Uniform => "uniform".into(),
            Distribution::Zipf => "zipf".into(),
            Distribution::Latest => "latest".into(),
            Distribution::HotSet { keys, requests } => format!("hot:{keys}:{requests}"),
        }
    }
}

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        let allowed = || format!("{text:?} is none of: uniform, zipf, latest, hot:KEYS:REQUESTS (percent, 1 to 99)");
        match text {
            "uniform" => return Ok(Distribution::Uniform),
            "zipf" => return Ok(Distribution::Zipf),
            "latest" => return Ok(Distribution::Latest),
            _ => {}
        }
        let percents = text.strip_prefix("hot:").and_then(|rest| rest.split_once(':')).ok_or_else(allowed)?;
        let percent = |text: &str| text.parse::<u32>().ok().filter(|percent| (1..100).contains(percent));
        match (percent(percents.0), percent(percents.1)) {
            (Some(keys), Some(requests)) => Ok(Distribution::HotSet { keys, requests }),
            _ => Err(allowed()),
        }
    }
}

impl Keys {
    pub(super) fn new(distribution: Distribution, count: u64) -> Keys {
        let ranks = match distribution {
            Distribution::Zipf | Distribution::Latest => Zipf::new(count),
            Distribution::Uniform | Distribution::HotSet { .. } => Zipf::new(1),
        };
        Keys { distribution, ranks, count }
    }

    /// How many exist.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// A key that exists.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        let count = self.count.max(1);
        match self.distribution {
            Distribution::Uniform => random.below(count),
            Distribution::Zipf => scattered(self.ranks.draw(random)) % count,
            Distribution::Latest => count - 1 - self.ranks.draw(random).min(count - 1),
            Distribution::HotSet { keys, requests } => {
                let hot = (count * u64::from(keys) / 100).max(1);
                match random.below(100) < u64::from(requests) {
                    true => scattered(random.below(hot)) % count,
                    false => random.below(count),
                }
            }
        }
    }

    /// A key that does not exist yet.
    pub(super) fn insert(&mut self) -> u64 {
        self.count += 1;
        self.count - 1
    }
}

impl Zipf {
    fn new(ranks: u64) -> Zipf {
        let ranks = ranks.max(1);
        let zeta_of = |count: u64| (1..=count).map(|rank| (rank as f64).powf(-ZIPF_SKEW)).sum::<f64>();
        let zeta = zeta_of(ranks);
        let eta = (1.0 - (2.0 / ranks as f64).powf(1.0 - ZIPF_SKEW)) / (1.0 - zeta_of(2.min(ranks)) / zeta);
        Zipf { ranks, zeta, eta, alpha: 1.0 / (1.0 - ZIPF_SKEW) }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let unit = random.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 || self.ranks == 1 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(ZIPF_SKEW) || self.ranks == 2 {
            return 1;
        }
        let rank = self.ranks as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.ranks - 1)
    }
}

/// Hot keys shall not be neighbours (splitmix64's finalizer).
fn scattered(rank: u64) -> u64 {
    let mixed = (rank ^ (rank >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn drawn(distribution: Distribution, count: u64) -> BTreeMap<u64, u32> {
        let (keys, mut random) = (Keys::new(distribution, count), Random::from_seed(3));
        let mut drawn = BTreeMap::new();
        for _ in 0..50_000 {
            let key = keys.draw(&mut random);
            assert!(key < count);
            *drawn.entry(key).or_default() += 1;
        }
        drawn
    }

    fn hottest(drawn: &BTreeMap<u64, u32>) -> f64 {
        f64::from(*drawn.values().max().unwrap()) / 50_000.0
    }

    #[test]
    fn the_hottest_key_is_as_hot_as_its_law_says() {
        assert!(hottest(&drawn(Distribution::Uniform, 1000)) < 0.003);
        // 1 / zeta(1000) is 0.132; the ranks are scattered with repetition.
        let zipf = hottest(&drawn(Distribution::Zipf, 1000));
        assert!((0.12..0.16).contains(&zipf), "{zipf}");
        let hot = drawn("hot:10:90".parse().unwrap(), 1000);
        let mut counts: Vec<u32> = hot.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let share = f64::from(counts[..100].iter().sum::<u32>()) / 50_000.0;
        assert!((0.85..0.95).contains(&share), "{share}");
    }

    #[test]
    fn the_latest_keys_are_the_newest_also_after_inserts() {
        let mut keys = Keys::new(Distribution::Latest, 10);
        assert_eq!((keys.insert(), keys.insert(), keys.count()), (10, 11, 12));
        let mut random = Random::from_seed(1);
        let newest = (0..1000).filter(|_| keys.draw(&mut random) == 11).count();
        assert!(newest > 250, "{newest}");
    }

    #[test]
    fn few_keys_are_no_trouble() {
        for count in 1..4 {
            for distribution in
                [Distribution::Zipf, Distribution::Latest, Distribution::HotSet { keys: 1, requests: 1 }]
            {
                assert!(drawn(distribution, count).len() as u64 <= count);
            }
        }
    }

    #[test]
    fn a_bad_distribution_says_what_is_allowed() {
        for text in ["zipfian", "hot", "hot:0:50", "hot:10:100", "hot:a:b"] {
            assert!(text.parse::<Distribution>().unwrap_err().contains("hot:KEYS:REQUESTS"), "{text}");
        }
        assert_eq!("hot:10:90".parse::<Distribution>().unwrap().text(), "hot:10:90");
    }
}
