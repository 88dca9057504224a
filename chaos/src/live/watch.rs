//! Looks at the nodes while the load runs: how many hints they hold, and how far the load is.

use super::book::Book;
use super::load::Load;
use super::probe::Probe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Between two looks: as often as a node renews what it shows.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Hints held by all nodes that can be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// At the last look; none if a node did not tell.
    pub(super) now: Option<u64>,
    /// At most, since that was last forgotten.
    pub(super) max: u64,
    /// Since when there has been none, in the run's time; none if there are some.
    pub(super) none_since_ms: Option<u64>,
}

impl Hints {
    /// With one more look. One at which a node did not tell says nothing new.
    fn after(self, now: Option<u64>, at_ms: u64) -> Hints {
        let none_since_ms = match now {
            None => self.none_since_ms,
            Some(0) => self.none_since_ms.or(Some(at_ms)),
            Some(_) => None,
        };
        Hints { now, max: self.max.max(now.unwrap_or(0)), none_since_ms }
    }
}

/// The watch; it ends with this value.
#[derive(Debug)]
pub(super) struct Watch {
    hints: Arc<watch::Sender<Hints>>,
    _task: JoinSet<()>,
}

impl Watch {
    /// Starts looking.
    pub(super) fn start(load: Arc<Load>, probe: Arc<Probe>) -> Watch {
        let hints = Arc::new(watch::Sender::new(Hints::default()));
        let mut task = JoinSet::new();
        task.spawn(look(load, probe, Arc::clone(&hints)));
        Watch { hints, _task: task }
    }

    /// Begins to look for the most hints anew.
    pub(super) fn forget_most(&self) {
        self.hints.send_modify(|hints| hints.max = 0);
    }

    /// Returns once a look finds hints as wanted, and what it found; none if none does within `limit`.
    pub(super) async fn until(&self, limit: Duration, wanted: impl Fn(&Hints) -> bool) -> Option<Hints> {
        let mut looks = self.hints.subscribe();
        let seen = async {
            loop {
                // What was seen before the question may be about another time. The sender is in `self`.
                let _ = looks.changed().await;
                let hints = *looks.borrow_and_update();
                if wanted(&hints) {
                    return hints;
                }
            }
        };
        tokio::time::timeout(limit, seen).await.ok()
    }
}

async fn look(load: Arc<Load>, probe: Arc<Probe>, hints: Arc<watch::Sender<Hints>>) {
    let mut progress = Progress::default();
    loop {
        let now = total_hints(&load, &probe).await;
        hints.send_modify(|hints| *hints = hints.after(now, load.fleet.now_ms()));
        if progress.told_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL) {
            load.with_book(|book| progress.tell(book, load.fleet.now_ms(), now));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn total_hints(load: &Load, probe: &Probe) -> Option<u64> {
    let mut total = 0;
    for node in load.fleet.up() {
        total += probe.cluster(node).await.ok()?.hints();
    }
    Some(total)
}

/// What the last line said.
#[derive(Debug, Default)]
struct Progress {
    told_at: Option<Instant>,
    acknowledged: u64,
    quiet: u32,
}

impl Progress {
    fn tell(&mut self, book: &Book, at_ms: u64, hints: Option<u64>) {
        let seconds = self.told_at.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let done = book.acknowledged - self.acknowledged;
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        // Phases without writes have lines of their own.
        self.quiet = if done == 0 { self.quiet + 1 } else { 0 };
        if self.quiet <= 1 {
            let hints = hints.map_or_else(|| "?".into(), |hints| hints.to_string());
            eprintln!(
                "chaos: {:6.1} s  {} acknowledged, {rate:.0}/s, {} retried, {} failed elsewhere, {hints} hints",
                at_ms as f64 / 1e3,
                book.acknowledged,
                book.retried,
                book.other_failures(),
            );
        }
        (self.told_at, self.acknowledged) = (Some(Instant::now()), book.acknowledged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_that_come_back_were_not_gone() {
        let looks = [(Some(0), 10), (Some(4), 20), (Some(0), 30), (None, 40), (Some(0), 50)];
        let seen =
            |count| looks[..count].iter().fold(Hints::default(), |hints, (now, at_ms)| hints.after(*now, *at_ms));
        assert_eq!(seen(1), Hints { now: Some(0), max: 0, none_since_ms: Some(10) });
        assert_eq!(seen(2), Hints { now: Some(4), max: 4, none_since_ms: None });
        assert_eq!(seen(5), Hints { now: Some(0), max: 4, none_since_ms: Some(30) });
    }
}
