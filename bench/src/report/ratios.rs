//! The small plot: one line for each workload, every contestant's cost as a ratio to tokio's.
//!
//! ```text
//!                          ringpark-uring
//!   echo-64   ·  ◆  ●   │ ○     ○    0.87
//!            1/2      tokio     2
//! ```
//! The scale is logarithmic, so that half and double are equally far from one. Ratios are medians
//! over rounds, taken within a round. Workloads in which tokio was not measured are left out.

use std::fmt::Write as _;

use super::plot::{text, FAINT, INK, MARGIN, WIDTH};
use super::{Report, Section};
use crate::contestants::REFERENCES;
use crate::workload::Workload;

/// Whose cost is 1: the column of that title.
const ONE: &str = "/tokio";
const FLOOR: &str = "/floor";
/// Whose ratio is written out at the end of the line.
const HERO: &str = "ringpark-uring";
/// Where the scale begins and ends; the workloads' names stand to its left, figures to its right.
const SCALE_X: (f64, f64) = (160.0, 760.0);
const ROW_HEIGHT: usize = 24;
/// Ratios beyond these are drawn at the edge.
const RATIO_MIN: f64 = 1.0 / 16.0;
const RATIO_MAX: f64 = 4.0;
/// Who has which colour: a contestant is the family whose name its own begins with.
const FAMILIES: &[(&str, &str)] = &[
    ("ringpark", "#0f766e"),
    ("tokio", "#6b7280"),
    ("monoio", "#ea580c"),
    ("compio", "#2563eb"),
    ("glommio", "#9333ea"),
    ("go", "#0891b2"),
    ("haproxy", "#dc2626"),
    ("nginx", "#65a30d"),
];

/// The report's ratios as an SVG document.
pub fn svg(report: &Report) -> String {
    let lines: Vec<Line> = report.sections.iter().filter_map(Line::of).collect();
    let mut body = String::new();
    let mut y = MARGIN + 18;
    text(&mut body, MARGIN, y, "start", INK, 16, "Cost beside tokio's: further left is cheaper");
    y += 20;
    text(&mut body, MARGIN, y, "start", FAINT, 11, &report.machine.to_string());
    y += 20;
    text(&mut body, WIDTH - MARGIN, y - 4, "end", FAINT, 11, HERO);
    let top = y;
    for line in &lines {
        line.draw(&mut body, y);
        y += ROW_HEIGHT;
    }
    let grid = grid(&lines, top, y);
    y += 18;
    legend(&mut body, &lines, y + 14);
    let height = y + 32 + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n{grid}{body}</svg>\n"
    )
}

/// One workload.
struct Line {
    workload: &'static Workload,
    /// Every contestant but tokio itself and the hand-written loops, with its ratio.
    ratios: Vec<(&'static str, f64)>,
    floor: Option<f64>,
}

impl Line {
    fn of(section: &Section) -> Option<Self> {
        let column = |title| REFERENCES.iter().position(|reference| reference.title == title);
        let (one, floor) = (column(ONE)?, column(FLOOR)?);
        let cheapest = section.references().nth(floor)?.map(|entry| entry.contestant);
        let mut line = Self { workload: section.workload, ratios: vec![], floor: None };
        for figures in section.figures() {
            let Some(ratio) = figures.ratios[one] else { continue };
            match figures.contestant {
                name if Some(name) == cheapest => line.floor = Some(ratio.median),
                name if name.starts_with("raw-") || name.starts_with("no-") => {}
                name if Some(name) == ONE.strip_prefix('/') => {}
                name => line.ratios.push((name, ratio.median)),
            }
        }
        (!line.ratios.is_empty()).then_some(line)
    }

    fn draw(&self, body: &mut String, y: usize) {
        let middle = y + ROW_HEIGHT / 2;
        let Workload { name, about, .. } = self.workload;
        writeln!(body, "<g><title>{about}</title>").expect("a string takes all");
        text(body, SCALE_X.0 as usize - 14, middle + 4, "end", INK, 12, name);
        body.push_str("</g>\n");
        if let Some(floor) = self.floor {
            let x = x_of(floor);
            let (left, right, above, below) = (x - 5.0, x + 5.0, middle - 6, middle + 6);
            let path =
                format!("M{x:.1} {above}L{right:.1} {middle}L{x:.1} {below}L{left:.1} {middle}Z");
            mark(body, &format!("<path d=\"{path}\" fill=\"{INK}\">"), "floor", floor, "path");
        }
        // The one that matters most is drawn last, over the others.
        let mut ratios = self.ratios.clone();
        ratios.sort_by_key(|(name, _)| *name == HERO);
        for (name, ratio) in ratios {
            let (family, colour) = family_of(name);
            let fill = if family == name || name == HERO { colour } else { "white" };
            let (x, radius) = (x_of(ratio), if name == HERO { 6 } else { 4 });
            let circle = format!(
                "<circle cx=\"{x:.1}\" cy=\"{middle}\" r=\"{radius}\" fill=\"{fill}\" \
                 stroke=\"{colour}\" stroke-width=\"1.5\">"
            );
            mark(body, &circle, name, ratio, "circle");
            if name == HERO {
                let figure = format!("{ratio:.2}");
                text(body, WIDTH - MARGIN, middle + 4, "end", colour, 12, &figure);
            }
        }
    }
}

/// A mark that says what it is when the pointer rests on it.
fn mark(body: &mut String, open: &str, name: &str, ratio: f64, element: &str) {
    writeln!(body, "{open}<title>{name}: {ratio:.2}</title></{element}>")
        .expect("a string takes all");
}

fn family_of(name: &str) -> (&'static str, &'static str) {
    let family = FAMILIES.iter().find(|(family, _)| name.starts_with(family));
    *family.unwrap_or(&("other", FAINT))
}

fn x_of(ratio: f64) -> f64 {
    let ratio = ratio.clamp(RATIO_MIN, RATIO_MAX);
    let share = (ratio / RATIO_MIN).ln() / (RATIO_MAX / RATIO_MIN).ln();
    SCALE_X.0 + share * (SCALE_X.1 - SCALE_X.0)
}

/// Vertical lines at powers of two, the one at tokio's cost in ink.
fn grid(lines: &[Line], top: usize, bottom: usize) -> String {
    let mut grid = String::new();
    if lines.is_empty() {
        return grid;
    }
    let mut ratio = RATIO_MIN;
    while ratio <= RATIO_MAX {
        let x = x_of(ratio);
        let (stroke, label) = match ratio {
            1.0 => (FAINT, "tokio".to_owned()),
            ratio if ratio < 1.0 => ("#e5e7eb", format!("1/{:.0}", 1.0 / ratio)),
            ratio => ("#e5e7eb", format!("{ratio:.0}")),
        };
        writeln!(grid, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"{stroke}\"/>")
            .expect("a string takes all");
        text(&mut grid, x as usize, bottom + 14, "middle", FAINT, 11, &label);
        ratio *= 2.0;
    }
    grid
}

/// Who is which colour, of those that are there.
fn legend(body: &mut String, lines: &[Line], y: usize) {
    let mut x = MARGIN;
    let mut entry = |body: &mut String, shape: String, name: &str| {
        body.push_str(&shape.replace("X", &(x + 5).to_string()));
        text(body, x + 14, y + 4, "start", INK, 11, name);
        x += 26 + 7 * name.chars().count();
    };
    for (family, colour) in FAMILIES.iter().filter(|(family, _)| *family != "tokio") {
        let there = |line: &Line| line.ratios.iter().any(|(name, _)| family_of(name).0 == *family);
        if lines.iter().any(there) {
            let circle = format!("<circle cx=\"X\" cy=\"{y}\" r=\"4\" fill=\"{colour}\"/>\n");
            entry(body, circle, family);
        }
    }
    let ring = format!("<circle cx=\"X\" cy=\"{y}\" r=\"4\" fill=\"white\" stroke=\"{INK}\"/>\n");
    entry(body, ring, "in another configuration");
    let above = y - 6;
    let diamond = format!("<path d=\"MX {above}l5 6l-5 6l-5 -6Z\" fill=\"{INK}\"/>\n");
    entry(body, diamond, "hand-written loop");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_double_are_equally_far_from_one() {
        let [half, one, double] = [0.5, 1.0, 2.0].map(x_of);
        assert!(((one - half) - (double - one)).abs() < 1e-9);
        assert_eq!((x_of(0.0), x_of(99.0)), SCALE_X);
    }

    #[test]
    fn families_are_told_apart() {
        assert_eq!(family_of("ringpark-epoll").0, "ringpark");
        assert_eq!(family_of("tokio-64k").0, "tokio");
        assert_eq!(family_of("go").0, "go");
        for contestant in crate::contestants::ALL {
            let name = contestant.name();
            let ours = name.starts_with("raw-") || name.starts_with("no-");
            assert!(ours || family_of(name).0 != "other", "{name}");
        }
    }

    #[test]
    fn a_workload_is_a_line_with_its_floor_and_whoever_was_measured() {
        let mut report = super::super::tests::example();
        // Only the floor beside tokio: nobody to compare.
        assert!(Line::of(&report.sections[0]).is_none());
        let tokio = &report.sections[0].entries[0];
        let samples = tokio.samples.iter().map(|sample| {
            sample.as_ref().map(|sample| crate::load::Sample { cost: 1650.0, ..sample.clone() })
        });
        let mut hero = super::super::Entry::new(HERO);
        hero.samples = samples.collect();
        report.sections[0].entries.push(hero);
        let line = Line::of(&report.sections[0]).unwrap();
        // 1650 to 3300, 3000 and 3600; the floor's 3000 to the first and the last of them.
        assert_eq!((line.ratios, line.floor.is_some()), (vec![(HERO, 0.5)], true));
        let svg = svg(&report);
        assert!(svg.contains("<title>ringpark-uring: 0.50</title>"), "{svg}");
        assert!(svg.contains("<title>floor: 0.87</title>"), "{svg}");
        assert!(!svg.contains("broken"), "{svg}");
    }
}
