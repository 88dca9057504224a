//! What is durable, and what of it is taken back.

use super::{first, next};
use crate::base::NodeId;
use crate::node::layouts::LayoutState;
use crate::replication::Ballot;
use std::sync::Arc;

fn decoded(state: &LayoutState) -> Result<LayoutState, String> {
    rmp_serde::from_slice(&rmp_serde::to_vec(state).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_state_survives_its_encoding() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut state = LayoutState::new(one);
    state.adopt(Arc::clone(&two));
    state.end_before(2);
    state.acceptor.accept(Ballot { round: 3, proposer: NodeId(2) }, &next(&two, &[1, 2]));
    assert_eq!(decoded(&state), Ok(state.clone()));
    assert_eq!((state.ending.len(), state.reading), (1, 2));
}

#[test]
fn decoding_refuses_each_broken_rule() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let three = next(&two, &[1, 2]);
    let refusal = |change: &dyn Fn(&mut LayoutState)| {
        let mut state = LayoutState::new(Arc::clone(&one));
        change(&mut state);
        decoded(&state).unwrap_err()
    };
    assert!(refusal(&|state| state.versions.clear()).contains("0 live layouts"));
    assert!(refusal(&|state| state.versions = vec![Arc::clone(&one); 4]).contains("4 live layouts"));
    assert!(refusal(&|state| state.versions.push(Arc::clone(&three))).contains("layout 3 does not follow"));
    assert!(refusal(&|state| state.ending.push(Arc::clone(&two))).contains("layout 2 does not follow"));
    assert!(refusal(&|state| state.reading = 2).contains("layout 2 is read by"));
    let ballot = Ballot { round: 1, proposer: NodeId(1) };
    assert!(refusal(&|state| state.acceptor.accepted = Some((ballot, Arc::clone(&three)))).contains("layout 3"));
}
