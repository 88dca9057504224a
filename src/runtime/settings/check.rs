//! How settings must fit together.

use super::problem::Problem;
use super::value::Values;
use super::{Settings, duration_text};
use crate::base::ClusterId;
use crate::membership::MAX_NAME_BYTES;

/// What a node may be called.
pub const NAME_RULE: &str = "up to 64 letters, digits, -, _ and ., beginning with a letter or digit";

/// May a node have this name? It becomes a directory's name, so it neither is empty nor begins with `.`
/// or `-`.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
}

/// Everything that is wrong although each value alone is allowed.
pub(super) fn check(settings: &Settings, values: &Values) -> Vec<Problem> {
    let rules = [identity, addresses, numbers, timings];
    let found = rules.iter().flat_map(|rule| rule(settings));
    found.map(|(knob, text)| Problem { origin: values.origin(knob), text: format!("{knob}: {text}") }).collect()
}

/// The knob that is wrong, and why.
type Finding = (&'static str, String);

fn identity(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let name = &settings.node.name;
    if name.is_empty() {
        found.push(("node.name", "is required: the node's name in the layout".into()));
    } else if !is_name(name) {
        found.push(("node.name", format!("{name:?} is no name; {NAME_RULE} are allowed")));
    }
    if settings.cluster.id == ClusterId(0) {
        let why = "is required: 32 hexadecimal digits, made by `dunlin cluster init`. To join a cluster: `dunlin serve \
                   --join TICKET`, with a ticket of `dunlin cluster invite` there";
        found.push(("cluster.id", why.into()));
    }
    found
}

fn addresses(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let http = settings.node.http_address;
    if !http.ip().is_loopback() && !settings.tls.allow_insecure_http {
        let why = "is not a loopback address, and HTTP is neither encrypted nor authenticated: whoever reaches it may \
                   read and write everything. Use 127.0.0.1 or [::1], or set tls.allow_insecure_http = true";
        found.push(("node.http_address", format!("{http} {why}")));
    }
    let peer = settings.node.peer_address;
    match settings.membership_address() {
        None => found.push(("node.peer_address", format!("{peer} has no next port; set membership.address"))),
        Some(own) if own == peer && own.port() != 0 => {
            found.push(("membership.address", format!("{own} is peer_address too; they are two sockets")));
        }
        Some(_) => {}
    }
    if peer.ip().is_unspecified() && settings.node.advertise_address.is_none() {
        let why = "is no address others can dial; set node.advertise_address";
        found.push(("node.peer_address", format!("{peer} {why}")));
    }
    found
}

fn numbers(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let cluster = &settings.cluster;
    if !cluster.partitions.is_power_of_two() {
        found.push(("cluster.partitions", format!("{} is no power of two (1, 2, 4 .. 65536)", cluster.partitions)));
    }
    for (knob, quorum) in [("defaults.r", settings.defaults.r), ("defaults.w", settings.defaults.w)] {
        if quorum.of(cluster.replicas as usize).is_none() {
            found.push((knob, format!("is more than there are replicas; 1 to {} are allowed", cluster.replicas)));
        }
    }
    found
}

fn timings(settings: &Settings) -> Vec<Finding> {
    let ordered = [
        (
            "membership.ping_timeout",
            settings.membership.ping_timeout,
            "membership.probe_interval",
            settings.membership.probe_interval,
        ),
        (
            "membership.retry_base",
            settings.membership.retry_base,
            "membership.retry_cap",
            settings.membership.retry_cap,
        ),
    ];
    let wrong = ordered.into_iter().filter(|(_, short, _, long)| short > long);
    wrong
        .map(|(knob, short, other, long)| {
            (knob, format!("{} is longer than {other} = {}", duration_text(short), duration_text(long)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_a_directory() {
        for good in ["a", "node-1", "db1.example.org", "7"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-a", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
