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
/// nodes of each zone; each quota is its exact share rounded down or up, and those who `held` more than
/// the rounded-down share are rounded up first, which keeps data where it is.
pub(super) fn quotas(partitions: usize, nodes: &[LayoutNode], spread: &Spread, held: &[usize]) -> Vec<usize> {
    let zone_shares = zone_shares(partitions, nodes, spread);
    let in_zone = |zone: usize| (0..nodes.len()).filter(move |&node| spread.zone_of(node) == zone);
    let held_by = |node: usize| held.get(node).copied().unwrap_or_default();
    let zone_held: Vec<usize> = (0..spread.zones()).map(|zone| in_zone(zone).map(held_by).sum()).collect();
    let zone_quotas = round(&zone_shares, partitions * spread.copies(), &zone_held);

    let mut quotas = vec![0; nodes.len()];
    for (zone, (&share, &quota)) in zone_shares.iter().zip(&zone_quotas).enumerate() {
        let shares = node_shares(partitions, share, in_zone(zone).filter_map(|node| nodes.get(node)));
        let held: Vec<usize> = in_zone(zone).map(held_by).collect();
        for (node, rounded) in in_zone(zone).zip(round(&shares, quota, &held)) {
            if let Some(quota) = quotas.get_mut(node) {
                *quota = rounded;
            }
        }
    }
    quotas
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

/// Rounds the shares down, then hands out what is missing to `total`, one each: first to those who held
/// more than that already, then by the larger remainder.
fn round(shares: &[Share], total: usize, held: &[usize]) -> Vec<usize> {
    let mut rounded: Vec<usize> = shares.iter().map(|share| share.floor()).collect();
    let missing = total.saturating_sub(rounded.iter().sum());
    let mut claims: Vec<(bool, u128, usize)> = (0..)
        .zip(shares.iter().zip(held))
        .filter(|(_, (share, _))| share.remainder() > 0)
        .map(|(index, (share, &held))| (held > share.floor(), share.remainder(), index))
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
