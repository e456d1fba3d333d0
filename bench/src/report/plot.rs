//! The plot: a panel of horizontal bars for each workload, costs only, shorter is better.
//!
//! A bar is the median, the line across its end goes from the smallest round to the largest.

use std::fmt::Write as _;

use super::table::number;
use super::{Figures, Report, Section};
use crate::contestants::{Reference, REFERENCES};
use crate::stats::Spread;

pub(super) const WIDTH: usize = 860;
pub(super) const MARGIN: usize = 24;
/// Where bars begin: the contestants' names stand to the left of it.
const BARS_X: usize = 150;
/// How long the longest bar, spread included, may be; figures stand to the right of it.
const BAR_LENGTH: f64 = 520.0;
const BAR_HEIGHT: usize = 18;
const ROW_HEIGHT: usize = 26;
const TITLE_HEIGHT: usize = 44;

pub(super) const INK: &str = "#1f2430";
pub(super) const FAINT: &str = "#6b7280";
const OURS: &str = "#0f766e";
const OTHERS: &str = "#94a3b8";
const FLOOR: &str = "#cbd5e1";

/// The whole report as an SVG document.
pub fn svg(report: &Report) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 22;
    text(&mut body, MARGIN, y, "start", INK, 18, "Cost of each contestant: shorter is better");
    y += 22;
    let machine = format!("{}; line: smallest to largest round", report.machine);
    text(&mut body, MARGIN, y, "start", FAINT, 12, &machine);
    y += 16;
    for section in &report.sections {
        y = panel(&mut body, section, y);
    }
    let height = y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

/// Draws a workload from `y` downwards, and says where it ends.
fn panel(body: &mut String, section: &Section, y: usize) -> usize {
    let figures = section.figures();
    let longest = figures.iter().filter_map(|one| Some(one.cost?.max)).fold(0.0, f64::max);
    // A workload that nobody managed has no scale, and its bars no length.
    let scale = if longest > 0.0 { BAR_LENGTH / longest } else { 0.0 };
    let title = format!("{}: {}", section.workload.about, section.workload.cost_unit);
    text(body, MARGIN, y + TITLE_HEIGHT - 14, "start", INK, 14, &title);
    let mut row_y = y + TITLE_HEIGHT;
    for one in &figures {
        row(body, one, row_y, scale);
        row_y += ROW_HEIGHT;
    }
    row_y
}

fn row(body: &mut String, figures: &Figures, y: usize, scale: f64) {
    let baseline = y + BAR_HEIGHT - 5;
    text(body, BARS_X - 8, baseline, "end", INK, 12, figures.contestant);
    let Some(cost) = figures.cost else {
        text(body, BARS_X, baseline, "start", FAINT, 12, "failed");
        return;
    };
    let [median, min, max] = [cost.median, cost.min, cost.max].map(|cost| cost.max(0.0) * scale);
    let fill = match figures.contestant {
        name if name.starts_with("ringpark") => OURS,
        name if name.starts_with("raw-") || name.starts_with("no-") => FLOOR,
        _ => OTHERS,
    };
    let middle = y + BAR_HEIGHT / 2;
    let (from, to) = (BARS_X as f64 + min, BARS_X as f64 + max);
    let (top, bottom) = (middle - 4, middle + 4);
    writeln!(
        body,
        "<rect x=\"{BARS_X}\" y=\"{y}\" width=\"{median:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\" \
         fill=\"{fill}\"/>\n\
         <path d=\"M{from:.1} {top}V{bottom}M{from:.1} {middle}H{to:.1}M{to:.1} {top}V{bottom}\" \
         stroke=\"{INK}\" fill=\"none\"/>"
    )
    .expect("a string takes all");
    let label = match ratio_label(figures) {
        Some(ratio) => format!("{}  {ratio}", number(cost.median)),
        None => number(cost.median),
    };
    text(body, BARS_X + max as usize + 8, baseline, "start", INK, 12, &label);
}

/// The ratio to the first reference that was measured.
fn ratio_label(figures: &Figures) -> Option<String> {
    let mut ratios = figures.ratios.iter().zip(REFERENCES);
    let label = |(ratio, reference): (&Option<Spread>, &Reference)| {
        let name = reference.title.trim_start_matches('/');
        Some(format!("({:.2} × {name})", ratio.as_ref()?.median))
    };
    ratios.find_map(label)
}

pub(super) fn text(
    body: &mut String,
    x: usize,
    y: usize,
    anchor: &str,
    fill: &str,
    size: usize,
    text: &str,
) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(
        body,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{fill}\" \
         font-size=\"{size}\">{text}</text>"
    )
    .expect("a string takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_has_a_bar_or_says_that_it_failed() {
        let svg = svg(&super::super::tests::example());
        // The background, and a bar for each of the two that have a figure.
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches(">failed<").count(), 1);
        for name in ["tokio", "raw-uring", "broken"] {
            assert!(svg.contains(&format!(">{name}<")), "{name}");
        }
    }

    #[test]
    fn the_longest_spread_fills_the_width_and_no_more() {
        let svg = svg(&super::super::tests::example());
        let end = BARS_X as f64 + BAR_LENGTH;
        assert!(svg.contains(&format!("H{end:.1}")), "{svg}");
    }

    #[test]
    fn text_is_escaped() {
        let mut body = String::new();
        text(&mut body, 0, 0, "start", INK, 9, "a<b & c");
        assert!(body.contains("a&lt;b &amp; c"), "{body}");
    }
}
