//! Changes of the layout: told to a node by an operator, followed until one version alone is left.

use super::operator::Operator;
use super::probe::Probe;
use super::report::{ChangeReport, Latencies, Transferred};
use super::stage::Stage;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long one change may take, before it is called stuck: the largest here moves some hundred megabytes.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);

/// Between two looks how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl Stage {
    /// New processes join the cluster by tickets. They own nothing yet.
    pub(super) async fn join(&mut self, names: &[&str]) -> Result<(), String> {
        let operator = self.operator();
        for name in names {
            let ticket = operator.invite(name).await?;
            self.cluster.add(name, ticket)?;
        }
        self.tell(&format!("{} join with tickets", names.join(", ")));
        self.until_ready().await
    }

    /// Stages all of this at a random node, applies it, and waits until every node goes by the new version alone.
    pub(super) async fn change(&mut self, changes: &[&[&str]]) -> Result<(), String> {
        let at = self.random.below(self.cluster.nodes.len() as u64) as usize;
        let (operator, url) = (self.operator(), self.cluster.nodes[at].url());
        for words in changes {
            operator.tell(&url, words).await?;
        }
        let planned = self.probe().planned(at).await?;
        let what = changes.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(", ");
        self.tell(&format!("{what}: {} of {} copies move", planned.moves, planned.copies()));
        let before = self.transferred().await?;
        let (begun, first) = (Instant::now(), self.load.with_book(|book| book.latencies_us.len()));
        operator.tell(&url, &["apply"]).await?;
        until_alone(self.probe(), self.cluster.nodes.len(), planned.version()).await?;
        let ms = begun.elapsed().as_millis() as u64;
        let puts = self.load.with_book(|book| Latencies::of(&book.latencies_us[first..], begun.elapsed()));
        let after = self.transferred().await?;
        let (objects, bytes) = (after.objects - before.objects, after.bytes - before.bytes);
        let keys = self.load.with_book(|book| book.acknowledged);
        let ideal = planned.moves as f64 * keys as f64 / planned.partitions as f64;
        let objects_to_ideal = objects as f64 / ideal.max(1.0);
        let sent = format!("{objects} objects sent, {objects_to_ideal:.2} times those that moved");
        self.tell(&format!("layout {} alone after {ms} ms; {puts}; {sent}", planned.version()));
        let (moves, copies, transferred) = (planned.moves, planned.copies(), Transferred { objects, bytes });
        let report = self.report.layout.get_or_insert_default();
        report.changes.push(ChangeReport { what, ms, moves, copies, transferred, objects_to_ideal, puts });
        Ok(())
    }

    /// By all nodes together. None is started anew in this scenario.
    async fn transferred(&self) -> Result<Transferred, String> {
        let mut all = Transferred::default();
        for node in 0..self.cluster.nodes.len() {
            let of = self.probe().cluster(node).await?.transferred();
            all = Transferred { objects: all.objects + of.objects, bytes: all.bytes + of.bytes };
        }
        Ok(all)
    }

    /// Lets the load run for a while with nothing else happening, to compare with.
    pub(super) async fn rest(&mut self, length: Duration) {
        let (begun, first) = (Instant::now(), self.load.with_book(|book| book.latencies_us.len()));
        sleep(length).await;
        let puts = self.load.with_book(|book| Latencies::of(&book.latencies_us[first..], begun.elapsed()));
        self.tell(&format!("quiet: {puts}"));
        self.report.layout.get_or_insert_default().quiet.push(puts);
    }

    fn operator(&self) -> Operator {
        self.cluster.operator()
    }
}

/// Waits until all nodes write and read by this version alone.
async fn until_alone(probe: &Probe, nodes: usize, version: u64) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let mut behind = Vec::new();
        for node in 0..nodes {
            match probe.layouts(node).await {
                Ok(layouts) if layouts.live == [version] && layouts.reading == version => {}
                Ok(layouts) => {
                    behind.push(format!("node{} goes by {:?}, reads by {}", node + 1, layouts.live, layouts.reading))
                }
                Err(error) => behind.push(format!("node{}: {error}", node + 1)),
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        if begun.elapsed() >= CHANGE_LIMIT {
            return Err(format!("the change is not over after {} s: {}", CHANGE_LIMIT.as_secs(), behind.join("; ")));
        }
        sleep(LOOK_INTERVAL).await;
    }
}
