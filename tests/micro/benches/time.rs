//! How long one operation takes: `cargo bench -p micro --bench time`. docs/benchmarks.md says what the figures are good for.

use divan::Bencher;
use micro::{Case, causal, codec, node, placement, store, transport};

/// Operations before the first that counts.
const WARM_UP: u32 = 100;

fn main() {
    divan::main();
}

#[divan::bench(name = "causal", args = causal::CASES)]
fn of_causal(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(name = "store", args = store::CASES)]
fn of_store(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(name = "codec", args = codec::CASES)]
fn of_codec(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(name = "placement", args = placement::CASES)]
fn of_placement(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(name = "transport", args = transport::CASES)]
fn of_transport(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(name = "node", args = node::CASES)]
fn of_node(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

fn measure(bencher: Bencher<'_, '_>, case: &Case) {
    let mut operation = case.prepare();
    // Divan takes as many operations for a sample as the first ones, slow as they are, make it think it needs.
    (0..case.rounds.min(WARM_UP)).for_each(|_| operation());
    bencher.bench_local(operation);
}
