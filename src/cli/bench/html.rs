//! The result as one page that needs nothing else.

use super::report::{Percentiles, Report, StageReport};
use super::tally::Second;

/// A plot's width in pixels.
const WIDTH: f64 = 560.0;

/// A plot's height in pixels.
const HEIGHT: f64 = 160.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}svg{background:#fafafa;margin:.3rem 1rem .3rem 0}figure{display:inline-block;margin:0}\
figcaption{font-size:13px;color:#666}code{background:#f2f2f2;padding:0 .2rem}";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let machine = &report.machine;
    let rows: String = report.stages.iter().map(row).collect();
    let details: String = report.stages.iter().map(stage).collect();
    let verified = report.verification.as_ref().map_or_else(String::new, |verification| {
        format!("<p>Verified: {} keys, {} wrong.</p>", verification.keys, verification.wrong)
    });
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>dunlin bench</title><style>{STYLE}</style>\
         <h1>dunlin bench</h1><p><code>{}</code></p><p>Dunlin {}; {} cores, {}, Linux {}; {} connections, {} keys, values of {} \
         bytes, {} nodes.</p>{verified}<table><tr><th>stage<th>offered/s<th>done/s<th>failed<th>p50 ms<th>p90 ms<th>p99 ms<th>p99.9 \
         ms<th>p99.99 ms<th>max ms<th>nodes' cpu us<th>generator's cpu us</tr>{rows}</table>{details}</html>\n",
        escaped(&report.command.join(" ")),
        escaped(&report.version),
        machine.cores,
        escaped(&machine.processor),
        escaped(&machine.kernel),
        report.load.connections,
        report.load.keys,
        escaped(&report.load.value_size),
        report.load.nodes.len(),
    )
}

fn row(stage: &StageReport) -> String {
    let Percentiles { p50_us, p90_us, p99_us, p99_9_us, p99_99_us, max_us, .. } = stage.latency;
    let latencies: String = [p50_us, p90_us, p99_us, p99_9_us, p99_99_us, max_us]
        .iter()
        .map(|us| format!("<td>{:.2}", us / 1000.0))
        .collect();
    let offered = stage.offered_per_second.map_or_else(|| "closed loop".into(), |offered| format!("{offered:.0}"));
    let cpu = stage.server_cpu_us_per_request.map_or_else(|| "-".into(), |us| format!("{us:.1}"));
    format!(
        "<tr><td>{}<td>{offered}<td>{:.0}<td>{}{latencies}<td>{cpu}<td>{:.1}</tr>",
        escaped(&stage.name),
        stage.per_second,
        stage.failed,
        stage.own_cpu_us_per_request
    )
}

fn stage(stage: &StageReport) -> String {
    let over_time = |value: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        stage.each_second.iter().enumerate().map(|(at, second)| ((at + 1) as f64, value(second))).collect()
    };
    // Nines: 0 at 0 %, 1 at 90 %, 2 at 99 %.
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).max(1e-7).log10();
    let curve: Vec<(f64, f64)> = stage.curve.iter().map(|(percentile, us)| (nines(*percentile), us / 1000.0)).collect();
    let plots = [
        plot("requests each second", &over_time(|second| second.done as f64)),
        plot("p99 each second, ms", &over_time(|second| second.p99_us as f64 / 1000.0)),
        plot("latency in ms by nines (1: 90 %, 2: 99 %, 3: 99.9 %)", &curve),
    ];
    format!(
        "<h2>{}: {}, {}</h2>{}",
        escaped(&stage.name),
        escaped(&stage.mix),
        escaped(&stage.distribution),
        plots.concat()
    )
}

/// A line through points, with the greatest value on the left and the last place on the right.
fn plot(title: &str, points: &[(f64, f64)]) -> String {
    let greatest = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (right, top) = (greatest(|point| point.0), greatest(|point| point.1));
    let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", x / right * WIDTH, HEIGHT - y / top * (HEIGHT - 14.0));
    let line: Vec<String> = points.iter().map(place).collect();
    format!(
        "<figure><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"><polyline fill=\"none\" \
         stroke=\"#0b62a4\" stroke-width=\"1.5\" points=\"{}\"/><text x=\"3\" y=\"11\" font-size=\"11\">{top:.4}</text><text \
         x=\"{WIDTH}\" y=\"{HEIGHT}\" dy=\"-3\" font-size=\"11\" text-anchor=\"end\">{right:.2}</text></svg><figcaption>{}\
         </figcaption></figure>",
        line.join(" "),
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::tests::report;

    #[test]
    fn the_page_is_whole_and_fetches_nothing() {
        let mut report = report(&["put"]);
        report.command = vec!["dunlin".into(), "<script>".into()];
        let page = page(&report);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
        assert_eq!(page.matches("<polyline").count(), 3);
        assert!(!page.contains("NaN"), "{page}");
    }
}
