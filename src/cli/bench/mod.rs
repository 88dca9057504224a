//! `dunlin bench`: a load of known shape, and an honest account of what came of it.
//!
//! Owns: workloads, pacing, measuring, reports. Must not know: anything of a node but its HTTP; that includes
//! nodes it starts itself. Invariant: a latency counts from when the request was *due*, so that a slow answer
//! hides no other; failed requests have no latency and are never left out of the count.
//!
//! ```text
//! options -> Plan -> Run: stage after stage { Supply says when -> Connection sends -> Tally } -> Report
//! ```

mod book;
mod compare;
mod connection;
mod html;
mod keys;
mod operation;
mod options;
mod plan;
mod progress;
mod report;
mod run;
mod supply;
mod tally;
mod target;
mod usage;
mod value;
mod verify;

use super::block_on::{block_on, cannot_start};
use super::dev::LocalCluster;
use super::exit::Failure;
use super::shutdown::Signals;
use crate::runtime::open_files::OpenFiles;
pub(super) use options::Bench;
use options::Output;
use plan::Plan;
use report::{FORMAT, LoadReport, Machine, Report};
use run::{Run, Verify};
use target::{Route, Target};
use tokio::task::LocalSet;

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        OpenFiles::raise();
        let plan = self.plan().map_err(Failure::usage)?;
        let earlier = self.output.compare.as_deref().map(compare::read).transpose().map_err(Failure::usage)?;
        let report = block_on(self.measure(&plan)).map_err(|error| cannot_start(&error))?.map_err(Failure::new)?;
        print!("{}", report.text());
        if let Some(earlier) = earlier {
            print!("{}", compare::text(&report, &earlier));
        }
        self.output.write(&report).map_err(Failure::new)?;
        match &report.verification {
            Some(verification) if verification.wrong > 0 => {
                Err(Failure::new(format!("{} keys do not hold what was acknowledged", verification.wrong)))
            }
            _ => Ok(()),
        }
    }

    async fn measure(&self, plan: &Plan) -> Result<Report, String> {
        let Some(nodes) = self.local else { return self.measure_at(&self.url, plan).await };
        let cluster = LocalCluster::start(nodes as usize).await?;
        let mut signals = Signals::new().map_err(|error| format!("cannot take signals: {error}"))?;
        let urls = cluster.urls();
        let report = tokio::select! {
            report = self.measure_at(&urls, plan) => report,
            () = signals.next() => Err("interrupted".into()),
        };
        cluster.stop().await;
        report
    }

    async fn measure_at(&self, urls: &[String], plan: &Plan) -> Result<Report, String> {
        let target = Target::find(urls, self.route).await?;
        let local = LocalSet::new();
        local.run_until(measure(urls, target, plan, self.verify(), self.route)).await
    }
}

impl Output {
    fn write(&self, report: &Report) -> Result<(), String> {
        let told = |path: &std::path::Path, error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(path) = &self.json {
            let json = serde_json::to_vec_pretty(report).map_err(|error| error.to_string())?;
            std::fs::write(path, json).map_err(|error| told(path, error))?;
        }
        match &self.html {
            Some(path) => std::fs::write(path, html::page(report)).map_err(|error| told(path, error)),
            None => Ok(()),
        }
    }
}

async fn measure(urls: &[String], target: Target, plan: &Plan, verify: Verify, route: Route) -> Result<Report, String> {
    let mut run = Run::new(plan.load.clone(), target, verify);
    let watched_nodes = run.servers();
    let stages = run.stages(plan).await?;
    let verification = match run.into_book() {
        Some(book) => Some(verify::verify(urls, book).await?),
        None => None,
    };
    let load = &plan.load;
    Ok(Report {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        machine: Machine::here(),
        load: LoadReport {
            nodes: urls.to_vec(),
            watched_nodes,
            connections: load.connections,
            keys: load.keys,
            value_size: load.sizes.text(),
            knobs: load.knobs.clone(),
            route: format!("{route:?}").to_lowercase(),
            seed: load.seed,
        },
        stages,
        verification,
    })
}
