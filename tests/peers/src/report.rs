//! Results as a table: Dunlin's figures, and how many times those of the others are.

use crate::measure::Line;

/// A row of the table: a workload, a figure of it, and whether more is better.
const ROWS: [(&str, &str, &str, Better); 15] = [
    ("bulk load, keys/s", "load", "per_second", Better::More),
    ("durable puts, 64 writers, /s", "puts", "per_second", Better::More),
    ("  puts in one commit", "puts", "puts_per_commit", Better::More),
    ("  CPU us for a put", "puts", "cpu_us", Better::Less),
    ("durable puts, own sharing, /s", "shared", "per_second", Better::More),
    ("reads, 1 thread, /s", "reads", "per_second", Better::More),
    ("  CPU us for a read", "reads", "cpu_us", Better::Less),
    ("reads, 2 threads, /s", "reads-2", "per_second", Better::More),
    ("mixed zipf, 64 clients, /s", "mixed", "per_second", Better::More),
    ("  CPU us for one", "mixed", "cpu_us", Better::Less),
    ("memory, loaded, B/key", "load", "memory_bytes_per_key", Better::Less),
    ("memory, opened, B/key", "open", "memory_bytes_per_key", Better::Less),
    ("disk, B/key", "load", "disk_bytes_per_key", Better::Less),
    ("reopen, clean, s", "open", "seconds", Better::Less),
    ("reopen, killed, s", "open-killed", "seconds", Better::Less),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// Prints the table of one shape. A ratio above 1 is always better than Dunlin, one below 1 worse.
pub fn table(lines: &[Line], keys: u64, value_bytes: usize) {
    let lines: Vec<&Line> = lines.iter().filter(|l| (l.keys, l.value_bytes) == (keys, value_bytes)).collect();
    let mut engines: Vec<&str> = Vec::new();
    for line in &lines {
        if !engines.contains(&line.engine.as_str()) {
            engines.push(&line.engine);
        }
    }
    let others: Vec<&str> = engines.iter().copied().filter(|engine| *engine != "dunlin").collect();
    println!("\n{keys} keys of 16 bytes, values of {value_bytes} bytes\n");
    println!("| | dunlin | {} |", others.join(" | "));
    println!("|---|---|{}", "---|".repeat(others.len()));
    for (title, workload, figure, better) in ROWS {
        let find = |engine: &str| {
            let line = lines.iter().find(|line| line.engine == engine && line.workload == workload);
            line.and_then(|line| line.figures.get(figure)).copied()
        };
        let own = find("dunlin");
        let cells: Vec<String> = others.iter().map(|other| ratio(own, find(other), better)).collect();
        println!("| {title} | {} | {} |", own.map_or("-".into(), shown), cells.join(" | "));
    }
}

fn ratio(own: Option<f64>, other: Option<f64>, better: Better) -> String {
    match (own, other) {
        (Some(own), Some(other)) if own > 0.0 && other > 0.0 => {
            let ratio = if better == Better::More { other / own } else { own / other };
            format!("{ratio:.2} ({})", shown(other))
        }
        (_, Some(other)) => shown(other),
        _ => "-".into(),
    }
}

fn shown(figure: f64) -> String {
    match figure {
        _ if figure >= 10_000.0 => format!("{:.0}k", figure / 1000.0),
        _ if figure >= 100.0 => format!("{figure:.0}"),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
