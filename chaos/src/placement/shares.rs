//! Fair shares, worked out by bisection: nothing like the planner's exact way.

use dunlin::ring::Layout;
use std::collections::BTreeMap;

/// Slack for telling a whole share from one that is to be rounded.
const EPSILON: f64 = 1e-6;

/// What would be fair in a layout: zones share all copies by capacity, then the nodes of a zone what it has.
pub struct Shares {
    /// The zone of each node, in the order of the layout's nodes.
    pub zone_of: Vec<usize>,
    /// Fewest and most copies of one partition in each zone: as evenly over the zones as their sizes allow.
    pub per_row: Vec<(usize, usize)>,
    /// The share of each node, in partitions.
    pub nodes: Vec<f64>,
    /// The share of each zone, in copies.
    pub zones: Vec<f64>,
}

impl Shares {
    /// The shares of this layout's nodes.
    pub fn of(layout: &Layout) -> Self {
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, node) in layout.nodes.iter().enumerate() {
            members.entry(&node.zone).or_default().push(place);
        }
        let copies = layout.copies();
        let held_at = |most: usize| members.values().map(|members| members.len().min(most)).sum::<usize>();
        let most = (1..=copies).find(|&most| held_at(most) >= copies).unwrap_or(copies);
        let per_row: Vec<_> = members.values().map(|zone| (zone.len().min(most - 1), zone.len().min(most))).collect();

        let partitions = f64::from(layout.partitioning.count());
        let capacity = |place: usize| f64::from(layout.nodes[place].capacity);
        let claim = |(zone, &(least, most)): (&Vec<usize>, &(usize, usize))| {
            let weight = zone.iter().map(|&place| capacity(place)).sum();
            (weight, least as f64 * partitions, most as f64 * partitions)
        };
        let claims: Vec<_> = members.values().zip(&per_row).map(claim).collect();
        let zones = divide(partitions * copies as f64, &claims);
        let (mut nodes, mut zone_of) = (vec![0.0; layout.nodes.len()], vec![0; layout.nodes.len()]);
        for (zone, (members, share)) in members.values().zip(&zones).enumerate() {
            let claims: Vec<_> = members.iter().map(|&place| (capacity(place), 0.0, partitions)).collect();
            for (&place, share) in members.iter().zip(divide(*share, &claims)) {
                nodes[place] = share;
                zone_of[place] = zone;
            }
        }
        Self { zone_of, per_row, nodes, zones }
    }
}

/// A share rounded down, unless it is as good as whole.
pub(super) fn rounded_down(share: f64) -> usize {
    (share + EPSILON).floor() as usize
}

/// A share rounded up, unless it is as good as whole.
pub(super) fn rounded_up(share: f64) -> usize {
    (share - EPSILON).ceil() as usize
}

/// Divides `total` by weight, each within its bounds, by bisection on what a unit of weight gets.
fn divide(total: f64, claims: &[(f64, f64, f64)]) -> Vec<f64> {
    let at = |price: f64| claims.iter().map(move |&(weight, least, most)| (weight * price).clamp(least, most));
    let (mut low, mut high) = (0.0, 1e12);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if at(middle).sum::<f64>() < total { low = middle } else { high = middle }
    }
    at(high).collect()
}
