//! How many partitions each node shall hold: its share by capacity, rounded.

use super::LayoutNode;
use super::spread::Spread;

/// An exact share: `numerator / denominator` partitions. With at most 2^16 partitions, 2^9 nodes and
/// 32-bit capacities, every product below stays under 2^120.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    numerator: u128,
    denominator: u128,
}

impl Share {
    fn whole(count: usize) -> Self {
        Self { numerator: count as u128, denominator: 1 }
    }

    fn floor(self) -> usize {
        (self.numerator / self.denominator) as usize
    }

    fn remainder(self) -> u128 {
        self.numerator % self.denominator
    }

    fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

/// One that shares: how much it weighs and what bounds it.
#[derive(Debug, Clone, Copy)]
struct Claim {
    weight: u128,
    least: usize,
    most: usize,
}

/// The number of partitions each node shall hold, of `partitions` in all. Zones share first, then the
/// nodes of each zone; each quota is its exact share rounded down or up, and those who can keep a copy by it are
/// rounded up first, which keeps data where it is.
pub(super) fn quotas(partitions: usize, nodes: &[LayoutNode], spread: &Spread, held: &[usize]) -> Vec<usize> {
    let zone_shares = zone_shares(partitions, nodes, spread);
    let zones: Vec<Zone> = zone_shares
        .iter()
        .zip(0..)
        .map(|(&share, zone)| {
            let members: Vec<usize> = (0..nodes.len()).filter(|&node| spread.zone_of(node) == zone).collect();
            let shares = node_shares(partitions, share, members.iter().filter_map(|&node| nodes.get(node)));
            let keeps = |(share, &node): (&Share, &usize)| held.get(node).is_some_and(|&held| held > share.floor());
            let keepers = shares.iter().zip(&members).map(keeps).collect();
            Zone { members, shares, keepers }
        })
        .collect();
    let keepers: Vec<bool> = zone_shares.iter().zip(&zones).map(|(share, zone)| zone.keeps_one_more(*share)).collect();
    let zone_quotas = round(&zone_shares, partitions * spread.copies(), &keepers);

    let mut quotas = vec![0; nodes.len()];
    for (zone, quota) in zones.iter().zip(zone_quotas) {
        for (&node, rounded) in zone.members.iter().zip(round(&zone.shares, quota, &zone.keepers)) {
            if let Some(quota) = quotas.get_mut(node) {
                *quota = rounded;
            }
        }
    }
    quotas
}

/// The nodes of a zone, the share of each, and who holds more than that rounded down.
struct Zone {
    members: Vec<usize>,
    shares: Vec<Share>,
    keepers: Vec<bool>,
}

impl Zone {
    /// If the zone's share is rounded up, does one more of its nodes keep a copy? Otherwise the copy would be a new
    /// one. What the zone holds in all does not tell: a node that must give up much may hold it.
    fn keeps_one_more(&self, share: Share) -> bool {
        let rounded_up = share.floor().saturating_sub(self.shares.iter().map(|share| share.floor()).sum());
        let fractions = self.shares.iter().zip(&self.keepers).filter(|(share, _)| share.remainder() > 0);
        fractions.filter(|(_, keeps)| **keeps).count() > rounded_up
    }
}

/// The share of each node before it is rounded, for people to compare with what it holds.
pub(super) fn fair_shares(partitions: usize, nodes: &[LayoutNode], spread: &Spread) -> Vec<f64> {
    let mut shares = vec![0.0; nodes.len()];
    for (zone, share) in zone_shares(partitions, nodes, spread).into_iter().enumerate() {
        let members = || (0..nodes.len()).filter(|&node| spread.zone_of(node) == zone);
        let exact = node_shares(partitions, share, members().filter_map(|node| nodes.get(node)));
        for (node, exact) in members().zip(exact) {
            if let Some(share) = shares.get_mut(node) {
                *share = exact.value();
            }
        }
    }
    shares
}

/// The exact share of each zone: by the capacity of its nodes, within what a zone may hold.
fn zone_shares(partitions: usize, nodes: &[LayoutNode], spread: &Spread) -> Vec<Share> {
    let mut claims: Vec<Claim> = (0..spread.zones())
        .map(|zone| Claim {
            weight: 0,
            least: spread.floor(zone) * partitions,
            most: spread.ceiling(zone) * partitions,
        })
        .collect();
    for (node, member) in nodes.iter().enumerate() {
        if let Some(claim) = claims.get_mut(spread.zone_of(node)) {
            claim.weight += u128::from(member.capacity);
        }
    }
    share(Share::whole(partitions * spread.copies()), &claims)
}

/// The exact share of each node of one zone: by capacity, at most one copy of each partition.
fn node_shares<'a>(partitions: usize, total: Share, nodes: impl Iterator<Item = &'a LayoutNode>) -> Vec<Share> {
    let claim = |node: &LayoutNode| Claim { weight: u128::from(node.capacity), least: 0, most: partitions };
    share(total, &nodes.map(claim).collect::<Vec<_>>())
}

/// Shares `total` by weight within bounds: whoever would get less than its least or more than its most
/// gets that, and the others share the rest. Each round settles those on the side that is further off.
fn share(total: Share, claims: &[Claim]) -> Vec<Share> {
    let mut settled: Vec<Option<usize>> = vec![None; claims.len()];
    loop {
        let taken: usize = settled.iter().flatten().sum();
        let open = || claims.iter().zip(&settled).filter(|(_, settled)| settled.is_none()).map(|(claim, _)| claim);
        let weight: u128 = open().map(|claim| claim.weight).sum();
        let rest = total.numerator.saturating_sub(taken as u128 * total.denominator);
        let unit = total.denominator * weight.max(1);
        let over: u128 = open().map(|c| (rest * c.weight).saturating_sub(c.most as u128 * unit)).sum();
        let under: u128 = open().map(|c| (c.least as u128 * unit).saturating_sub(rest * c.weight)).sum();
        if over == 0 && under == 0 {
            let exact = |claim: &Claim| Share { numerator: rest * claim.weight, denominator: unit };
            let shares = claims.iter().zip(&settled);
            return shares.map(|(claim, settled)| settled.map_or_else(|| exact(claim), Share::whole)).collect();
        }
        for (claim, settled) in claims.iter().zip(&mut settled).filter(|(_, settled)| settled.is_none()) {
            let exact = rest * claim.weight;
            if over >= under && exact > claim.most as u128 * unit {
                *settled = Some(claim.most);
            }
            if under >= over && exact < claim.least as u128 * unit {
                *settled = Some(claim.least);
            }
        }
    }
}

/// Rounds the shares down, then hands out what is missing to `total`, one each: first to those who keep
/// a copy by it, then by the larger remainder.
fn round(shares: &[Share], total: usize, keepers: &[bool]) -> Vec<usize> {
    let mut rounded: Vec<usize> = shares.iter().map(|share| share.floor()).collect();
    let missing = total.saturating_sub(rounded.iter().sum());
    let mut claims: Vec<(bool, u128, usize)> = (0..)
        .zip(shares.iter().zip(keepers))
        .filter(|(_, (share, _))| share.remainder() > 0)
        .map(|(index, (share, &keeps))| (keeps, share.remainder(), index))
        .collect();
    // All remainders have one denominator here: whoever is at a bound has a whole share.
    claims.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(&b.2)));
    for (_, _, index) in claims.into_iter().take(missing) {
        if let Some(quota) = rounded.get_mut(index) {
            *quota += 1;
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{nodes, zoned};
    use proptest::prelude::*;

    fn quotas_of(partitions: usize, nodes: &[LayoutNode], replicas: usize) -> Vec<usize> {
        quotas(partitions, nodes, &Spread::of(nodes, replicas), &vec![0; nodes.len()])
    }

    #[test]
    fn equal_nodes_share_equally() {
        assert_eq!(quotas_of(1024, &nodes(4), 3), [768; 4]);
    }

    #[test]
    fn a_node_never_holds_a_partition_twice_however_large_it_is() {
        let mut nodes = nodes(4);
        nodes[2].capacity = u32::MAX;
        assert_eq!(quotas_of(300, &nodes, 3), [200, 200, 300, 200]);
    }

    #[test]
    fn zones_share_before_nodes() {
        // Three zones and three copies: a copy in each, so the lone node holds everything.
        assert_eq!(quotas_of(60, &zoned(&[1, 2, 3]), 3), [60, 30, 30, 20, 20, 20]);
    }

    #[test]
    fn the_remainder_goes_to_who_holds_more_already() {
        let nodes = nodes(3);
        assert_eq!(quotas(1, &nodes, &Spread::of(&nodes, 1), &[0, 1, 0]), [0, 1, 0]);
    }

    #[test]
    fn the_zone_is_rounded_up_whose_nodes_can_keep_a_copy_by_it() {
        // Both zones hold two and shall have one and a half; but in the first one node holds both.
        let nodes = zoned(&[2, 2]);
        assert_eq!(quotas(3, &nodes, &Spread::of(&nodes, 1), &[2, 0, 1, 1]), [1, 0, 1, 1]);
    }

    proptest! {
        #[test]
        fn quotas_fill_every_row_and_round_the_exact_share(
            members in prop::collection::vec((0usize..5, 1u32..=u32::MAX), 1..24),
            replicas in 1usize..7,
            bits in 0u32..17,
        ) {
            let mut nodes = zoned(&[members.len()]);
            for (node, (zone, capacity)) in nodes.iter_mut().zip(&members) {
                node.zone = format!("z{zone}");
                node.capacity = *capacity;
            }
            let partitions = 1 << bits;
            let spread = Spread::of(&nodes, replicas);
            let quotas = quotas(partitions, &nodes, &spread, &vec![0; nodes.len()]);
            prop_assert_eq!(quotas.iter().sum::<usize>(), partitions * spread.copies());
            let zone_shares = zone_shares(partitions, &nodes, &spread);
            for (zone, &share) in zone_shares.iter().enumerate() {
                let members: Vec<usize> = (0..nodes.len()).filter(|&n| spread.zone_of(n) == zone).collect();
                let held: usize = members.iter().map(|&n| quotas[n]).sum();
                prop_assert!((spread.floor(zone) * partitions..=spread.ceiling(zone) * partitions).contains(&held));
                prop_assert!(held == share.floor() || held == share.floor() + 1);
                let shares = node_shares(partitions, share, members.iter().map(|&n| &nodes[n]));
                for (&node, share) in members.iter().zip(shares) {
                    let up = usize::from(share.remainder() > 0);
                    prop_assert!(quotas[node] <= partitions);
                    prop_assert!((share.floor()..=share.floor() + up).contains(&quotas[node]));
                }
            }
        }
    }
}
