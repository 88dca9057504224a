//! P4: after faults end, every node takes every other for up.

use super::Broken;
use dunlin::node::View;

/// Judges a healed cluster: what each node, by number, believes of the others.
pub fn check_meeting<'a>(views: impl Iterator<Item = (usize, &'a View)>) -> Vec<Broken> {
    let lonely = views.filter(|(_, view)| !view.layout().nodes.iter().all(|node| view.is_up(node.id)));
    let broken = |(node, view): (usize, &View)| Broken {
        promise: "P4 converges",
        what: format!("node {node} takes others for down: {:?}", view.peers),
    };
    lonely.map(broken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Swarm;
    use crate::sim::cluster::{layout_of, view_of};
    use dunlin::base::Random;

    #[test]
    fn a_node_that_misses_one_is_reported() {
        let mut random = Random::from_seed(1);
        let layout = layout_of(&Swarm { nodes: 3, ..Swarm::draw(&mut Random::from_seed(1)) }, &mut random);
        let (whole, lonely) =
            (view_of(&layout, 0, &[None, Some(1), Some(4)]), view_of(&layout, 1, &[Some(1), None, None]));
        let broken = check_meeting([(0, &*whole), (1, &*lonely)].into_iter());
        assert_eq!(broken.len(), 1);
        assert!(broken[0].what.starts_with("node 1 "), "{}", broken[0].what);
    }
}
