//! The production driver: one task that owns a shard of the node and carries out what it asks for.

use super::alarm::Alarm;
use super::append_queue::AppendQueue;
use super::cold_reads::{ColdReads, ReadAnswer};
use super::control_handle::ControlHandle;
use super::disk::RealDisk;
use super::flusher::{Append, FlushRequest, Flushed};
use super::http::CoreRequest;
use super::listings::{ListAnswer, Listings};
use super::membership::Members;
use super::metrics::Metrics;
use super::space::SpaceWatch;
use super::status::{ClusterStatus, StatusSource, holding};
use super::status_board::StatusBoard;
use super::transport::{Received, Transport};
use super::upkeep::{Asked, Stop};
use crate::base::{Now, Time, WallTime};
use crate::causal::Actor;
use crate::node::{ControlInput, Effect, Input, Node, Space, StoreAnswer, View};
use crate::replication::{Failure, Message, Outcome};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Inputs taken from one source before the others are looked at again: batches keep wake-ups cheap,
/// and a bound keeps every source alive.
const MAX_TURN_INPUTS: usize = 256;

/// How old the status that HTTP shows may be.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);

/// How long the last appends may take at the end before the process leaves without a clean mark.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A driver's ends of all channels.
pub(super) struct Driver {
    /// One shard of the node.
    pub(super) node: Node,
    pub(super) shard: usize,
    /// What only the first shard's driver has to do.
    pub(super) lead: Option<Lead>,
    pub(super) started: Instant,
    pub(super) wall_clock: fn() -> WallTime,
    pub(super) transport: Arc<Transport>,
    pub(super) reads: ColdReads,
    pub(super) appends: AppendQueue,
    pub(super) commands: mpsc::Receiver<CoreRequest>,
    pub(super) received: mpsc::Receiver<Received>,
    pub(super) flushed: mpsc::UnboundedReceiver<Flushed>,
    pub(super) members: watch::Receiver<Arc<Members>>,
    pub(super) view: Arc<View>,
    pub(super) board: StatusBoard,
    /// Something may have changed what partitions hold. Looking at all of them each time was a quarter of what an idle
    /// node did.
    pub(super) holdings_stale: bool,
    pub(super) asked: mpsc::Receiver<Asked>,
    pub(super) space: watch::Receiver<Space>,
    pub(super) metrics: Arc<Metrics>,
    /// Who waits for the answer to which command.
    pub(super) waiting: BTreeMap<u64, oneshot::Sender<Outcome>>,
    pub(super) next_request: u64,
    /// Why this node must stop, if it must: another process has its identity.
    pub(super) lost: Option<String>,
    /// The same, for another reason.
    pub(super) failed: Option<String>,
    /// For what concerns layouts.
    pub(super) control: ControlHandle,
}

/// What concerns the node as a whole.
pub(super) struct Lead {
    pub(super) listings: Listings,
    pub(super) status: watch::Sender<Arc<ClusterStatus>>,
    pub(super) status_source: StatusSource,
    /// The threads that look after the log.
    #[expect(dead_code, reason = "their end with the driver is the signal")]
    pub(super) upkeep: [Stop; 2],
    /// The node waits for a new actor, and the disk had no room for it.
    pub(super) renewal_due: bool,
    pub(super) space_watch: SpaceWatch<RealDisk>,
    /// To all drivers.
    pub(super) space: watch::Sender<Space>,
}

impl Lead {
    /// Tells how much room there is, if that has changed. Is a renewal to be tried again?
    fn look_around(&mut self) -> bool {
        if let Some(space) = self.space_watch.look() {
            self.space.send_replace(space);
        }
        std::mem::take(&mut self.renewal_due)
    }
}

/// Why the driver ended.
pub(super) enum Ended {
    /// It was asked to, and the log is closed.
    Cleanly,
    /// The store can no longer be trusted.
    Poisoned(String),
    /// Another process has this node's identity.
    IdentityTaken(String),
    /// Something else that the process cannot go on without.
    Failed(String),
}

impl Driver {
    /// Runs until `shutdown`, or until the node cannot go on. However it ends, whoever waits is answered. The first
    /// shard's driver is the last to be shut down: it closes the log, and the peers hear at once that nothing more
    /// comes from here.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Ended {
        let ended = self.drive(shutdown).await;
        self.commands.close();
        while let Ok((_, answer)) = self.commands.try_recv() {
            // A client that has gone away is no failure.
            let _ = answer.send(Outcome::Failed(Failure::NotReady));
        }
        // Whoever still waits is told what a lost command means for its kind of request.
        self.waiting.clear();
        if self.lead.is_none() {
            return ended;
        }
        let ended = match ended {
            Ended::Cleanly => self.close_log().await,
            ended => ended,
        };
        self.transport.say_goodbye().await;
        ended
    }

    /// Until `shutdown` (`Cleanly`; the log is still open), or until the node cannot go on.
    async fn drive(&mut self, shutdown: impl Future<Output = ()>) -> Ended {
        tokio::pin!(shutdown);
        let mut status_due = tokio::time::interval(STATUS_INTERVAL);
        status_due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut alarm = Alarm::new();
        let mut inputs = Vec::new();
        self.take_members(&mut inputs);
        self.turn(inputs);
        loop {
            let deadline = self.deadline();
            let mut inputs = Vec::new();
            tokio::select! {
                () = &mut shutdown => return Ended::Cleanly,
                Some(request) = self.commands.recv() => {
                    self.take_command(request, &mut inputs);
                }
                Some(batch) = self.received.recv() => self.take_received(batch, &mut inputs),
                flushed = self.flushed.recv() => match flushed {
                    Some(flushed) => if let Err(why) = self.take_flushed(flushed, &mut inputs) {
                        return Ended::Poisoned(why);
                    },
                    None => return Ended::Failed("the storage thread ended".into()),
                },
                answer = self.reads.answered() => take_read(answer, &mut inputs),
                answer = page_made(&mut self.lead) => take_page(answer, &mut inputs),
                changed = self.members.changed() => match changed {
                    Ok(()) => self.take_members(&mut inputs),
                    Err(_) => return Ended::Failed("the membership thread ended".into()),
                },
                Some(asked) = self.asked.recv() => {
                    if let Err(why) = self.answer_upkeep(asked) {
                        break Ended::Poisoned(why);
                    }
                }
                _ = status_due.tick() => {
                    self.publish_status();
                    if self.lead.as_mut().is_some_and(Lead::look_around) {
                        self.ask_renewal();
                    }
                    if self.space.has_changed().unwrap_or(false) {
                        inputs.push(Input::Space(*self.space.borrow_and_update()));
                    }
                }
                () = alarm.rings(deadline) => inputs.push(Input::Tick),
            }
            if let Some(why) = self.lost.clone() {
                return Ended::IdentityTaken(why);
            }
            if let Some(why) = self.failed.clone() {
                return Ended::Failed(why);
            }
            if let Err(why) = self.take_waiting(&mut inputs) {
                return Ended::Poisoned(why);
            }
            self.turn(inputs);
        }
    }

    /// When the node wants to be called; never is far away.
    fn deadline(&self) -> Instant {
        let Time(micros) = self.node.deadline();
        self.started + Duration::from_micros(micros)
    }

    fn now(&self) -> Now {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { time: Time(micros), wall: (self.wall_clock)() }
    }

    /// Whatever else is waiting joins this turn: the number of requests per wake-up decides the cost.
    fn take_waiting(&mut self, inputs: &mut Vec<Input>) -> Result<(), String> {
        for _ in 0..MAX_TURN_INPUTS {
            let Ok(flushed) = self.flushed.try_recv() else { break };
            self.take_flushed(flushed, inputs)?;
        }
        for _ in 0..MAX_TURN_INPUTS {
            let Some(answer) = self.reads.answered_by_now() else { break };
            take_read(answer, inputs);
        }
        for _ in 0..MAX_TURN_INPUTS {
            let Some(answer) = self.lead.as_mut().and_then(|lead| lead.listings.answered_by_now()) else { break };
            take_page(answer, inputs);
        }
        for _ in 0..MAX_TURN_INPUTS {
            let Ok(batch) = self.received.try_recv() else { break };
            self.take_received(batch, inputs);
        }
        for _ in 0..MAX_TURN_INPUTS {
            let Ok(request) = self.commands.try_recv() else { break };
            self.take_command(request, inputs);
        }
        Ok(())
    }

    fn take_flushed(&mut self, flushed: Flushed, inputs: &mut Vec<Input>) -> Result<(), String> {
        match flushed {
            Flushed::Answers(answers) => take_answers(answers, inputs),
            Flushed::Renewed(Some(actor)) => {
                if let Some(lead) = &mut self.lead {
                    lead.renewal_due = false;
                    tracing::warn!(%actor, "records are lost: this node goes on under a new actor");
                }
                inputs.push(Input::Renewed { actor });
            }
            Flushed::Renewed(None) => {
                if let Some(lead) = &mut self.lead {
                    lead.renewal_due = true;
                }
            }
            Flushed::Poisoned(why) => return Err(why),
            Flushed::Closed(_) => {}
        }
        Ok(())
    }

    /// A storage thread that is gone has said why; the next turn of the loop ends the process.
    fn ask_renewal(&mut self) {
        let _ = self.appends.send(FlushRequest::Renew(Actor(rand::random())));
    }

    fn take_received(&self, received: Received, inputs: &mut Vec<Input>) {
        // Its share of the budget for bytes received and not yet handled goes with the rest of it.
        let Received { from, messages, .. } = received;
        for message in messages {
            match message {
                Message::Layout(message) => self.control.message(from, message),
                message => inputs.push(Input::Message { from, message }),
            }
        }
    }

    fn take_command(&mut self, (asked, answer): CoreRequest, inputs: &mut Vec<Input>) {
        self.next_request += 1;
        self.waiting.insert(self.next_request, answer);
        inputs.push(asked.into_input(self.next_request));
    }

    fn take_members(&mut self, inputs: &mut Vec<Input>) {
        let members = self.members.borrow_and_update().clone();
        if let Some(lead) = &mut self.lead {
            // Only for members that changed: telling a peer's address also ends the wait before its next dial.
            let before = &lead.status_source.members.members;
            for (node, member) in members.members.iter().filter(|(node, member)| before.get(node) != Some(member)) {
                self.transport.set_address(*node, member.identity.peer_address.clone());
            }
            lead.status_source.members = Arc::clone(&members);
        }
        self.holdings_stale |= self.view.layouts.revision != members.view.layouts.revision;
        self.view = Arc::clone(&members.view);
        self.lost.clone_from(&members.lost);
        self.failed.clone_from(&members.failed);
        inputs.push(Input::View(Arc::clone(&self.view)));
    }

    /// Feeds the node, and carries out its effects, until it wants nothing more at once. All of it happens at one
    /// instant: reading two clocks for each input would cost as much as handling some.
    fn turn(&mut self, inputs: Vec<Input>) {
        let now = self.now();
        let mut inputs: VecDeque<Input> = inputs.into();
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.holdings_stale |= changes_holdings(&input);
            self.node.handle(now, input, &mut effects);
            for effect in effects.drain(..) {
                self.carry_out(effect, &mut inputs);
            }
        }
        self.appends.hand_over();
    }

    fn carry_out(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Send { to, message } => self.transport.send(&to, &message),
            Effect::Append { shard, id, record } => self.appends.push(Append { shard, id, record }),
            Effect::Renew => self.ask_renewal(),
            Effect::Resume { shard } => {
                // A storage thread that is gone has said why; the next turn of the loop ends the process.
                let _ = self.appends.send(FlushRequest::Resume { shard });
            }
            Effect::Read { shard, id, place, reuse } => {
                // Without an answer now it comes later, like those of appends.
                let answered = self.reads.begin((shard, id), place, reuse);
                inputs.extend(answered.map(|answer| Input::Store { shard, id, answer }));
            }
            Effect::List { id, query, partitions } => {
                if let Some(lead) = &self.lead {
                    lead.listings.begin(id, query, partitions);
                }
            }
            Effect::Answer { request, outcome } => {
                if let Some(waiting) = self.waiting.remove(&request) {
                    // A client that has gone away is no failure of the command.
                    let _ = waiting.send(outcome);
                }
            }
            Effect::Drained { shard, revision } => self.control.report(ControlInput::Drained { shard, revision }),
            Effect::Filled { shard, revision, version } => {
                self.control.report(ControlInput::Filled { shard, revision, version });
            }
            Effect::Notice(notice) => self.metrics.count_notice(notice),
        }
    }

    /// A record that the node has not been told of would pass for a superseded one: first it takes in every
    /// answer that the storage thread has given.
    fn answer_upkeep(&mut self, asked: Asked) -> Result<(), String> {
        let mut inputs = Vec::new();
        while let Ok(flushed) = self.flushed.try_recv() {
            self.take_flushed(flushed, &mut inputs)?;
        }
        self.turn(inputs);
        // Whoever asked may have ended meanwhile.
        match asked {
            Asked::Current(questions, answer) => {
                let current = questions.iter().map(|q| self.node.is_current(q.partition, &q.holder, q.place));
                let _ = answer.send(current.collect());
            }
            Asked::Tell(input, answer) => {
                self.turn(vec![*input]);
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    fn publish_status(&mut self) {
        let (view, stale) = (&self.view, std::mem::take(&mut self.holdings_stale));
        let held = |partition| Some(holding(partition, &self.node.partition_report(partition)?));
        let holdings = stale.then(|| view.layout().partitions_of(view.me).filter_map(held).collect());
        self.board.put(self.shard, self.node.status(), holdings);
        if let Some(lead) = &mut self.lead
            && let Some((node, holdings)) = self.board.whole()
        {
            lead.status.send_replace(Arc::new(lead.status_source.status(view, &node, holdings)));
        }
    }

    async fn close_log(&mut self) -> Ended {
        if !self.appends.send(FlushRequest::Close) {
            return Ended::Failed("the storage thread ended".into());
        }
        let closed = async {
            while let Some(flushed) = self.flushed.recv().await {
                match flushed {
                    Flushed::Closed(Ok(())) => return Ended::Cleanly,
                    Flushed::Closed(Err(why)) | Flushed::Poisoned(why) => return Ended::Poisoned(why),
                    Flushed::Answers(_) | Flushed::Renewed(_) => {}
                }
            }
            Ended::Failed("the storage thread ended".into())
        };
        match tokio::time::timeout(CLOSE_PATIENCE, closed).await {
            Ok(ended) => ended,
            Err(_) => Ended::Failed("the log could not be closed in time".into()),
        }
    }
}

/// The next page of keys that the store has made. Waits for ever where none is made. Cancel-safe.
async fn page_made(lead: &mut Option<Lead>) -> ListAnswer {
    match lead {
        Some(lead) => lead.listings.answered().await,
        None => std::future::pending().await,
    }
}

/// Can it change what the node durably holds? What clients and peers ask for does not, before it is appended.
fn changes_holdings(input: &Input) -> bool {
    match input {
        Input::Store { answer, .. } => matches!(answer, StoreAnswer::Appended { .. }),
        Input::View(_) | Input::Damaged(_) | Input::Renewed { .. } | Input::Lost(_) => true,
        Input::Command { .. } | Input::List { .. } | Input::Message { .. } | Input::Listed { .. } => false,
        Input::Relocated(_) | Input::Space(_) | Input::Tick => false,
    }
}

fn take_read((shard, id, answer): ReadAnswer, inputs: &mut Vec<Input>) {
    inputs.push(Input::Store { shard, id, answer });
}

fn take_page((id, page): ListAnswer, inputs: &mut Vec<Input>) {
    inputs.push(Input::Listed { id, page });
}

fn take_answers(answers: Vec<(usize, u64, StoreAnswer)>, inputs: &mut Vec<Input>) {
    inputs.extend(answers.into_iter().map(|(shard, id, answer)| Input::Store { shard, id, answer }));
}
