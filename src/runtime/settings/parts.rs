//! What the parts of a node are given of the settings.

use super::{Defaults, Limits, Membership, Repair};
use crate::membership::{DetectorConfig, Lifeguard};
use crate::node::Timings;
use crate::replication::Options;
use crate::runtime::http::HttpLimits;

impl Defaults {
    /// What a request gets that does not say otherwise.
    pub fn options(&self) -> Options {
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        Options { r: self.r, w: self.w, sloppiness: self.sloppy, timeout_ms }
    }
}

impl Limits {
    /// What clients may use up.
    pub fn http(&self) -> HttpLimits {
        HttpLimits {
            max_value_bytes: usize::try_from(self.max_value_bytes.0).unwrap_or(usize::MAX),
            max_connections: self.max_connections as usize,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            write_timeout: self.write_timeout,
        }
    }
}

impl Membership {
    /// The failure detector's settings; `first_incarnation` must be above those of earlier lives.
    pub fn detector(&self, first_incarnation: u64) -> DetectorConfig {
        DetectorConfig {
            lifeguard: Lifeguard::On,
            first_incarnation,
            probe_interval: self.probe_interval,
            probes_per_round: self.probes_per_round as usize,
            ping_timeout: self.ping_timeout,
            indirect_probes: self.indirect_probes as usize,
            suspicion_multiplier: self.suspicion_multiplier,
            full_sync_interval: self.full_sync_interval,
            retry_base: self.retry_base,
            retry_cap: self.retry_cap,
        }
    }
}

impl Repair {
    /// The core's periods; those that are no settings have their defaults.
    pub fn timings(&self) -> Timings {
        Timings {
            exchange_interval: self.exchange_interval,
            hint_interval: self.hint_drain_interval,
            fill_bytes_per_second: self.fill_rate.0,
            hint_bytes: self.hint_bytes.0,
            ..Timings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, Sources};
    use super::*;
    use crate::store::DEFAULT_SEGMENT_BYTES;

    fn defaults() -> Settings {
        Sources::default().read().unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_parts() {
        let settings = defaults();
        assert_eq!(settings.defaults.options(), Options::default());
        assert_eq!(settings.limits.http(), HttpLimits::default());
        assert_eq!(settings.membership.detector(1), DetectorConfig::default());
        assert_eq!(settings.repair.timings(), Timings::default());
        assert_eq!(settings.storage.segment_bytes.0, u64::from(DEFAULT_SEGMENT_BYTES));
    }
}
