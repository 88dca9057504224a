//! When the next request is due: at once (closed loop), or at a fixed rate whatever the answers do (open
//! loop, so that a slow answer hides no other).

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Between two looks at the clock in an open loop: how late a request may be sent without any fault of the
/// cluster. tokio's own timers are ten times coarser.
const TICK: Duration = Duration::from_micros(100);

/// How a stage's requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// Each connection sends as soon as it has its answer.
    Closed,
    /// So many requests are due each second, evenly spaced.
    Open {
        /// Requests a second.
        per_second: f64,
    },
}

/// How long a stage lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Lasting(Duration),
    /// So many requests in all.
    Requests(u64),
}

/// Hands out requests.
#[derive(Debug)]
pub(super) struct Supply {
    pace: Pace,
    length: Length,
    began: Instant,
    taken: Cell<u64>,
    due: Arc<Semaphore>,
}

/// One request to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// From 0.
    pub(super) number: u64,
    /// Latency counts from here.
    pub(super) due: Instant,
    pub(super) waited: Waited,
}

/// Was a connection there when the request was due?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// It waited for the request.
    Connection,
    /// The request waited for it.
    Request,
}

impl Supply {
    pub(super) fn new(pace: Pace, length: Length) -> Supply {
        Supply { pace, length, began: Instant::now(), taken: Cell::new(0), due: Arc::new(Semaphore::new(0)) }
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The next request; none once the stage is over.
    pub(super) async fn next(&self) -> Option<Ticket> {
        let number = self.taken.replace(self.taken.get() + 1);
        let Pace::Open { per_second } = self.pace else {
            let due = Instant::now();
            let more = match self.length {
                Length::Lasting(duration) => due < self.began + duration,
                Length::Requests(count) => number < count,
            };
            return more.then_some(Ticket { number, due, waited: Waited::Request });
        };
        if number >= self.count(per_second) {
            return None;
        }
        let waited = match self.due.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Waited::Request
            }
            Err(_) => {
                self.due.acquire().await.ok()?.forget();
                Waited::Connection
            }
        };
        let due = self.began + Duration::from_secs_f64(number as f64 / per_second);
        Some(Ticket { number, due, waited })
    }

    /// Lets requests become due, on a thread of its own, until all are or nobody wants them any more. A closed
    /// loop needs nobody for that.
    pub(super) fn keep_time(&self) -> io::Result<()> {
        let Pace::Open { per_second } = self.pace else { return Ok(()) };
        let (due, began, count) = (Arc::clone(&self.due), self.began, self.count(per_second));
        let keeper = std::thread::Builder::new().name("timekeeper".into());
        keeper.spawn(move || keep_time(&due, began, count, per_second)).map(drop)
    }

    /// How many requests an open loop is made of.
    fn count(&self, per_second: f64) -> u64 {
        match self.length {
            Length::Lasting(duration) => (duration.as_secs_f64() * per_second).ceil() as u64,
            Length::Requests(count) => count,
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.due.close();
    }
}

fn keep_time(due: &Semaphore, began: Instant, count: u64, per_second: f64) {
    let mut released = 0;
    while released < count && !due.is_closed() {
        // The first is due at once.
        let by_now = ((began.elapsed().as_secs_f64() * per_second) as u64 + 1).min(count);
        due.add_permits((by_now - released) as usize);
        released = by_now;
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_closed_loop_ends_with_its_count() {
        let supply = Supply::new(Pace::Closed, Length::Requests(3));
        let numbers = run(async {
            let mut numbers = Vec::new();
            while let Some(ticket) = supply.next().await {
                numbers.push(ticket.number);
            }
            numbers
        });
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn an_open_loop_makes_requests_due_whatever_becomes_of_them() {
        let supply = Supply::new(Pace::Open { per_second: 10_000.0 }, Length::Lasting(Duration::from_millis(20)));
        let tickets = run(async {
            let take = async {
                let mut tickets = Vec::new();
                while let Some(ticket) = supply.next().await {
                    assert!(ticket.due <= Instant::now(), "none is sent before it is due");
                    tickets.push(ticket);
                }
                tickets
            };
            supply.keep_time().unwrap();
            take.await
        });
        assert_eq!(tickets.len(), 200);
        let spaced = |pair: &[Ticket]| pair[1].due - pair[0].due;
        assert!(
            tickets.windows(2).all(|pair| spaced(pair).abs_diff(Duration::from_micros(100)) < Duration::from_micros(1))
        );
    }
}
