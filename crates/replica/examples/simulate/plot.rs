//! A plot of how clusters converge, as an SVG image: two panels over the rounds, the median of all seeds
//! in each.

use replica::sim::{Report, Round};
use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 56.0;

/// Owners that lack something, and bytes sent, in each round.
pub(crate) fn svg(reports: &[Report]) -> String {
    let behind = medians(reports, |round| round.behind as f64);
    let bytes = medians(reports, |round| round.bytes as f64);
    let (full_width, full_height) = (WIDTH + 2.0 * MARGIN, 2.0 * (HEIGHT + 2.0 * MARGIN));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{full_width}\" height=\"{full_height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    panel(
        &mut out,
        "owners that lack something (median)",
        &behind,
        0.0,
    );
    panel(
        &mut out,
        "bytes sent in the round (median)",
        &bytes,
        HEIGHT + 2.0 * MARGIN,
    );
    out.push_str("</svg>\n");
    out
}

/// The median over the seeds of a figure of each round; seeds that had converged count as zero.
fn medians(reports: &[Report], figure: impl Fn(&Round) -> f64) -> Vec<f64> {
    let rounds = reports.iter().map(|r| r.rounds.len()).max().unwrap_or(0);
    let median = |at: usize| {
        let values = reports
            .iter()
            .map(|r| r.rounds.get(at).map_or(0.0, &figure));
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (0..rounds).map(median).collect()
}

/// One curve with its axes, `top` below the upper edge of the image.
fn panel(out: &mut String, title: &str, values: &[f64], top: f64) {
    let most = values.iter().copied().fold(1.0, f64::max);
    let x = |at: usize| MARGIN + WIDTH * at as f64 / values.len().saturating_sub(1).max(1) as f64;
    let y = |value: f64| top + MARGIN + HEIGHT * (1.0 - value / most);
    let points = values.iter().enumerate();
    let points: Vec<String> = points
        .map(|(at, value)| format!("{:.1},{:.1}", x(at), y(*value)))
        .collect();
    let (left, bottom) = (MARGIN, top + MARGIN + HEIGHT);
    // Writing into a string does not fail.
    let _ = write!(
        out,
        "<text x=\"{left}\" y=\"{}\">{title}</text>\n\
         <path d=\"M{left} {} V{bottom} H{}\" stroke=\"black\" fill=\"none\"/>\n\
         <text x=\"4\" y=\"{}\">{most}</text>\n\
         <text x=\"{left}\" y=\"{}\">round 1</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">round {}</text>\n\
         <polyline points=\"{}\" stroke=\"steelblue\" stroke-width=\"2\" fill=\"none\"/>\n",
        top + MARGIN - 12.0,
        top + MARGIN,
        left + WIDTH,
        top + MARGIN + 4.0,
        bottom + 20.0,
        left + WIDTH,
        bottom + 20.0,
        values.len(),
        points.join(" "),
    );
}
