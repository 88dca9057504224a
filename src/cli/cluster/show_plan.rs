//! Staged changes of the layout, and what they mean, for people and as JSON.

use super::columns::columns;
use crate::base::NodeId;
use crate::ring::{Change, ChangePlan, Departure, Harm, Held, Layout, Loss, NodePlan, PartitionId, Staged, Step};
use serde::Serialize;
use std::fmt::{Display, Write};

/// Most partitions named one by one; of more, the first and how many there are.
const NAMED_PARTITIONS: usize = 16;

/// The structure as a node answers it.
pub(super) fn json(what: &impl Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(what).map_err(|error| format!("cannot write it as JSON: {error}"))
}

/// What is staged, in order. `layout` is the one it is staged on: it knows the names of its nodes.
pub(super) fn staged_table(staged: &Staged, layout: &Layout) -> String {
    if staged.changes.is_empty() {
        return format!("nothing is staged on layout {}\n", staged.base);
    }
    let count = counted(staged.changes.len(), "change");
    let mut rows = vec![["", "CHANGE", "NODE", "DETAILS"].map(String::from).to_vec()];
    for (number, change) in (1..).zip(&staged.changes) {
        let [what, node, details] = change_cells(change, &name_in(staged, layout));
        rows.push(vec![format!("{number}"), what, node, details]);
    }
    format!("{count} staged on layout {}:\n{}", staged.base, columns(&rows))
}

/// Names of nodes in force and of those that join.
fn name_in<'a>(staged: &'a Staged, layout: &'a Layout) -> impl Fn(NodeId) -> String + 'a {
    let newcomer = |change: &'a Change| match change {
        Change::Join { node } | Change::Replace { new: node, .. } => Some(node),
        _ => None,
    };
    move |id| {
        let joins = || staged.changes.iter().filter_map(newcomer).find(|node| node.id == id);
        layout.node(id).or_else(joins).map_or_else(|| id.to_string(), |node| node.name.clone())
    }
}

fn change_cells(change: &Change, name: &impl Fn(NodeId) -> String) -> [String; 3] {
    let declared = |departure: &Departure| match departure {
        Departure::Alive => "",
        Departure::Dead => ", declared dead",
    };
    match change {
        Change::Join { node } => {
            let details =
                format!("{}, capacity {}, {}, id {}", in_zone(&node.zone), node.capacity, node.address, node.id);
            ["join".into(), node.name.clone(), details]
        }
        Change::Leave { node, declared: departure } => {
            ["leave".into(), name(*node), format!("id {node}{}", declared(departure))]
        }
        Change::Replace { old, new, declared: departure } => {
            let by = format!("by {} ({}), {}, capacity {}", new.name, new.id, in_zone(&new.zone), new.capacity);
            ["replace".into(), name(*old), format!("{by}, {}{}", new.address, declared(departure))]
        }
        Change::Weight { node, capacity } => ["weight".into(), name(*node), format!("capacity {capacity}")],
        Change::Zone { node, zone } => ["zone".into(), name(*node), in_zone(zone)],
        Change::Replicas(replicas) => ["replicas".into(), String::new(), format!("{replicas} copies of everything")],
    }
}

fn in_zone(zone: &str) -> String {
    if zone.is_empty() { "no zone".into() } else { format!("zone {zone}") }
}

/// What a change means: what moves, how even it is before and after, what may fail meanwhile, and what is lost.
pub(super) fn plan_table(plan: &ChangePlan) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(out, "layout {}, {} partitions", arrow(plan.version), plan.partitions);
    let _ = writeln!(out, "copies of each: {} (wanted: {})", arrow(plan.copies), arrow(plan.replicas));
    let _ = writeln!(out, "zones that each is spread over, at least: {}", arrow(plan.spread));
    if plan.copies.after < plan.replicas.after {
        let (nodes, wanted) = (counted(plan.copies.after, "node"), plan.replicas.after);
        let _ = writeln!(out, "WARNING: {nodes} cannot hold {wanted} copies");
    }
    let _ = writeln!(out, "\n{}", moved(plan));
    out.push('\n');
    out.push_str(&node_rows(plan));
    out.push('\n');
    out.push_str(&zone_rows(plan));
    if !plan.links.is_empty() {
        out.push('\n');
        out.push_str(&link_rows(plan));
    }
    out.push('\n');
    out.push_str(&losses(plan));
    out.push_str(&risk(plan));
    out
}

fn moved(plan: &ChangePlan) -> String {
    if plan.moves == 0 {
        return "nothing is copied".into();
    }
    let mut text = format!("{} copied", counted(plan.moves, "partition"));
    if let Some(bytes) = plan.bytes {
        let _ = write!(text, ", {}", size(bytes));
    }
    if let Some(seconds) = plan.seconds {
        let _ = write!(text, ", about {} for the busiest node", time(seconds));
    }
    text
}

fn node_rows(plan: &ChangePlan) -> String {
    let header = ["NODE", "ZONE", "CAPACITY", "PARTITIONS", "FAIR SHARE", "RECEIVES", "SENDS", "DROPS", ""];
    let mut rows = vec![header.map(String::from).to_vec()];
    for node in &plan.nodes {
        let partitions = |held: Option<Held>| held.map_or_else(|| "-".into(), |held| held.partitions.to_string());
        let share = |held: Option<Held>| held.map_or_else(|| "-".into(), |held| format!("{:.1}", held.share));
        rows.push(vec![
            node.name.clone(),
            node.zone.clone(),
            node.capacity.to_string(),
            format!("{} -> {}", partitions(node.held.before), partitions(node.held.after)),
            format!("{} -> {}", share(node.held.before), share(node.held.after)),
            with_size(node.receives, node.bytes_in),
            with_size(node.sends, node.bytes_out),
            node.drops.to_string(),
            what_becomes_of(node).into(),
        ]);
    }
    columns(&rows)
}

fn what_becomes_of(node: &NodePlan) -> &'static str {
    match (node.held.before, node.held.after) {
        (None, Some(_)) => "joins",
        (Some(_), None) if node.dead => "leaves, declared dead",
        (Some(_), None) => "leaves",
        _ => "",
    }
}

fn zone_rows(plan: &ChangePlan) -> String {
    let mut rows = vec![["ZONE", "NODES", "COPIES", "MOST OF ONE PARTITION"].map(String::from).to_vec()];
    for zone in &plan.zones {
        let name = if zone.name.is_empty() { "(none)".into() } else { zone.name.clone() };
        rows.push(vec![name, arrow(zone.nodes), arrow(zone.copies), arrow(zone.most)]);
    }
    columns(&rows)
}

fn link_rows(plan: &ChangePlan) -> String {
    let name = |id: NodeId| {
        let node = plan.nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| id.to_string(), |node| node.name.clone())
    };
    let mut rows = vec![["FROM", "TO", "COPIES"].map(String::from).to_vec()];
    for link in &plan.links {
        rows.push(vec![name(link.from), name(link.to), with_size(link.partitions, link.bytes)]);
    }
    columns(&rows)
}

/// Those losses that would stop something. The rest is one line.
fn losses(plan: &ChangePlan) -> String {
    let nodes = plan.nodes.iter().filter_map(|node| Some((format!("node {}", node.name), node.loss?)));
    let zones = plan.zones.iter().map(|zone| (in_zone(&zone.name), zone.loss));
    let (harmless, harmful): (Vec<_>, Vec<_>) = nodes.chain(zones).partition(|(_, loss)| loss.is_harmless());
    if harmful.is_empty() {
        return "the loss of any one node or zone stops nothing, before, during or after\n".into();
    }
    let mut rows = vec![["LOSS OF", "BEFORE", "DURING", "AFTER"].map(String::from).to_vec()];
    for (name, Loss { before, during, after }) in harmful {
        rows.push(vec![name, harm(before), harm(during), harm(after)]);
    }
    let (table, others) = (columns(&rows), harmless.len());
    format!("partitions that one more loss would stop:\n{table}any of the {others} other nodes and zones: none\n")
}

fn harm(harm: Harm) -> String {
    let parts = [(harm.reads, "not readable"), (harm.writes, "not writeable"), (harm.copies, "without any whole copy")];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if told.is_empty() { "-".into() } else { told.join(", ") }
}

fn risk(plan: &ChangePlan) -> String {
    let mut text = String::new();
    if !plan.risk.below_quorum.is_empty() {
        let partitions = named(&plan.risk.below_quorum);
        let _ = writeln!(
            text,
            "\nAT RISK: fewer copies than a quorum live of {partitions}; their latest writes may be lost"
        );
    }
    if !plan.risk.no_copy.is_empty() {
        let _ = writeln!(text, "\nLOST: no copy lives of {}; all they held is lost", named(&plan.risk.no_copy));
    }
    if text.is_empty() && plan.nodes.iter().any(|node| node.dead) {
        text.push_str("\nof every partition a quorum of copies lives without the dead\n");
    }
    text
}

fn named(partitions: &[PartitionId]) -> String {
    let first: Vec<String> = partitions.iter().take(NAMED_PARTITIONS).map(PartitionId::to_string).collect();
    let rest = if partitions.len() > NAMED_PARTITIONS { ", ..." } else { "" };
    format!("{} ({}{rest})", counted(partitions.len(), "partition"), first.join(", "))
}

fn arrow<T: Copy + Display + PartialEq>(step: Step<T>) -> String {
    if step.before == step.after { step.after.to_string() } else { format!("{} -> {}", step.before, step.after) }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn with_size(count: usize, bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) if count > 0 => format!("{count} ({})", size(bytes)),
        _ => count.to_string(),
    }
}

fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{:.1} h", seconds as f64 / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::ring::{Estimates, LayoutNode, Partitioning};

    fn node(id: u64, name: &str, zone: &str) -> LayoutNode {
        LayoutNode {
            id: NodeId(id),
            name: name.into(),
            zone: zone.into(),
            capacity: 1,
            address: format!("{name}:7400"),
            membership_address: format!("{name}:7401"),
        }
    }

    fn layout() -> Layout {
        let nodes = vec![node(1, "a", "x"), node(2, "b", "y"), node(3, "c", "y")];
        Layout::first(ClusterId(1), Partitioning::new(16).unwrap(), 2, nodes).unwrap()
    }

    fn assert_names(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn staged_changes_are_told_by_name_and_in_order() {
        let layout = layout();
        let mut staged = Staged::on(&layout);
        assert_eq!(staged_table(&staged, &layout), "nothing is staged on layout 1\n");
        let changes = [
            Change::Join { node: node(9, "d", "z") },
            Change::Replace { old: NodeId(2), new: node(8, "b2", "y"), declared: Departure::Dead },
            Change::Weight { node: NodeId(9), capacity: 4 },
        ];
        changes.into_iter().for_each(|change| staged.stage(&layout, change).unwrap());
        let text = staged_table(&staged, &layout);
        assert_names(&text, &["3 changes staged on layout 1", "1  join", "zone z, capacity 1, d:7400"]);
        assert_names(&text, &["replace  b", "by b2 (0000000000000008)", "declared dead", "weight   d     capacity 4"]);
    }

    #[test]
    fn a_plan_tells_what_moves_and_what_a_loss_would_stop() {
        let layout = layout();
        let mut staged = Staged::on(&layout);
        staged.stage(&layout, Change::Join { node: node(9, "d", "z") }).unwrap();
        let next = staged.plan(&layout).unwrap();
        let bytes = vec![1 << 20; 16];
        let estimates = Estimates { bytes: Some(&bytes), pace: Some(1 << 20), ..Estimates::default() };
        let plan = ChangePlan::of(&layout, &next, &estimates);
        let text = plan_table(&plan);
        assert_names(&text, &["layout 1 -> 2, 16 partitions", "copies of each: 2 (wanted: 2)", "joins"]);
        assert_names(&text, &["partitions copied, ", "MiB, about ", "FROM", "16 not readable, 16 not writeable"]);
        assert!(!text.contains("AT RISK"), "{text}");
        let again: ChangePlan = serde_json::from_str(&json(&plan).unwrap()).unwrap();
        assert_eq!(again, plan);
    }

    #[test]
    fn what_the_dead_take_with_them_is_told() {
        let layout = layout();
        let mut staged = Staged::on(&layout);
        for id in [1, 2] {
            staged.stage(&layout, Change::Leave { node: NodeId(id), declared: Departure::Dead }).unwrap();
        }
        let plan = ChangePlan::of(&layout, &staged.plan(&layout).unwrap(), &Estimates::default());
        let text = plan_table(&plan);
        assert_names(&text, &["AT RISK", "LOST", "leaves, declared dead", "WARNING: 1 node cannot hold 2 copies"]);
    }

    #[test]
    fn amounts_are_readable() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 40)], ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]);
        assert_eq!([time(7), time(121), time(9_000)], ["7 s", "3 min", "2.5 h"]);
    }
}
