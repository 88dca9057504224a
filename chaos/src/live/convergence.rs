//! Are the replicas of every partition equal?

use super::probe::{Holding, Probe};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long replicas may take to become equal after faults end (promise P4).
pub(super) const CONVERGENCE_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks; more than the age of what a node shows (200 ms), so that the second of two equal
/// looks is about the time after the first.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Differences that are told in full.
const MAX_TOLD_DIFFERENCES: usize = 5;

/// All replicas are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Converged {
    /// From the question to the first look that found them so.
    pub(super) ms: u64,
    pub(super) partitions: usize,
    /// Keys of the cluster, each counted once.
    pub(super) keys: u64,
}

/// Waits for equality: two looks in a row must find it. An error names what differs.
pub(super) async fn until_converged(probe: &Probe, names: &[String]) -> Result<Converged, String> {
    let begun = Instant::now();
    let mut first: Option<Converged> = None;
    loop {
        let found = look(probe, names).await;
        match (found, first) {
            (Ok(_), Some(first)) => return Ok(first),
            (Ok((partitions, keys)), None) => {
                first = Some(Converged { ms: begun.elapsed().as_millis() as u64, partitions, keys });
            }
            (Err(difference), _) if begun.elapsed() >= CONVERGENCE_LIMIT => {
                return Err(format!("replicas still differ after {} s: {difference}", CONVERGENCE_LIMIT.as_secs()));
            }
            (Err(_), _) => first = None,
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn look(probe: &Probe, names: &[String]) -> Result<(usize, u64), String> {
    let rows = probe.ring(0).await?;
    let mut holdings = BTreeMap::new();
    for (node, name) in names.iter().enumerate() {
        let held = probe.holdings(node).await.map_err(|error| format!("{name}: {error}"))?;
        holdings.insert(name.clone(), held.into_iter().map(|holding| (holding.partition, holding)).collect());
    }
    compare(&rows, &holdings)
}

/// Partitions and keys if all replicas of each row hold the same, completely.
fn compare(
    rows: &BTreeMap<u32, Vec<String>>,
    holdings: &BTreeMap<String, BTreeMap<u32, Holding>>,
) -> Result<(usize, u64), String> {
    let (mut differences, mut keys) = (Vec::new(), 0);
    for (partition, primaries) in rows {
        let held: Vec<Option<&Holding>> = primaries.iter().map(|name| holdings.get(name)?.get(partition)).collect();
        match held.first().copied().flatten() {
            Some(one) if held.iter().all(|other| *other == Some(one)) && one.complete => keys += one.keys,
            _ => differences.push(difference(*partition, primaries, &held)),
        }
    }
    if rows.is_empty() {
        return Err("the ring has no partition".into());
    }
    if differences.is_empty() {
        return Ok((rows.len(), keys));
    }
    let told = differences.iter().take(MAX_TOLD_DIFFERENCES).cloned().collect::<Vec<_>>().join("; ");
    Err(format!("{} of {} partitions: {told}", differences.len(), rows.len()))
}

fn difference(partition: u32, primaries: &[String], held: &[Option<&Holding>]) -> String {
    let one = |(name, held): (&String, &Option<&Holding>)| match held {
        None => format!("{name} does not tell"),
        Some(held) => {
            let Holding { clock, data, keys, complete, .. } = held;
            format!("{name} clock {clock} data {data} keys {keys}{}", if *complete { "" } else { " incomplete" })
        }
    };
    format!("partition {partition}: {}", primaries.iter().zip(held).map(one).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(clock: &str, data: &str) -> Holding {
        Holding { partition: 4, clock: clock.into(), data: data.into(), complete: true, keys: 2 }
    }

    fn compared(one: Option<Holding>, other: Option<Holding>) -> Result<(usize, u64), String> {
        let rows = BTreeMap::from([(4, vec!["a".to_string(), "b".to_string()])]);
        let held = |holding: Option<Holding>| holding.into_iter().map(|holding| (4, holding)).collect();
        compare(&rows, &BTreeMap::from([("a".into(), held(one)), ("b".into(), held(other))]))
    }

    #[test]
    fn equal_replicas_are_counted_once() {
        assert_eq!(compared(Some(holding("c", "d")), Some(holding("c", "d"))), Ok((1, 2)));
    }

    #[test]
    fn any_difference_is_noticed() {
        let good = || Some(holding("c", "d"));
        assert!(compared(good(), Some(holding("x", "d"))).unwrap_err().contains("partition 4"));
        assert!(compared(good(), Some(holding("c", "x"))).is_err());
        assert!(compared(good(), None).is_err());
        assert!(compared(None, None).is_err());
        let incomplete = || Some(Holding { complete: false, ..holding("c", "d") });
        assert!(compared(incomplete(), incomplete()).is_err());
        assert!(compare(&BTreeMap::new(), &BTreeMap::new()).is_err());
    }
}
