//! The tables that are printed: one for each workload, every contestant in it, failed ones too.

use super::{Figures, Report, Section};
use crate::contestants::REFERENCES;
use crate::stats::Spread;

/// All tables, under the line that names the machine.
pub fn all(report: &Report) -> String {
    let tables = report.sections.iter().map(section);
    let mut text = format!(
        "{}\nMedians (smallest..largest); ratios are of costs, round by round: below 1 is \
         cheaper.\n",
        report.machine
    );
    tables.for_each(|table| {
        text += "\n";
        text += &table;
    });
    for absent in &report.absent {
        text += &format!("\nnot measured: {}: {}\n", absent.contestant, absent.why);
    }
    text
}

fn section(section: &Section) -> String {
    let workload = section.workload;
    let mut head = vec!["contestant", workload.cost_unit, "(spread)"];
    head.extend(REFERENCES.iter().map(|reference| reference.title));
    head.extend([
        workload.rate_unit,
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "RSS MiB",
        "busy",
        "load",
        "starved",
    ]);
    let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    let figures = section.figures();
    rows.extend(figures.iter().map(row));
    drop_empty_columns(&mut rows);
    let mut text = format!("{}: {}\n{}", workload.name, workload.about, align(&rows));
    for (reference, entry) in REFERENCES.iter().zip(section.references()) {
        if let (Some(entry), true) = (entry, reference.contestants.len() > 1) {
            text += &format!("  {} is {}\n", reference.title, entry.contestant);
        }
    }
    for one in figures.iter().filter(|one| !one.failures.is_empty()) {
        let (count, first) = (one.failures.len(), &one.failures[0]);
        text += &format!("  {} failed in {count} rounds: {first}\n", one.contestant);
    }
    text
}

fn row(figures: &Figures) -> Vec<String> {
    let latency = |which: fn(&crate::load::Latency) -> u64| {
        figures
            .latency
            .as_ref()
            .map_or(String::new(), |latency| number(which(latency) as f64 / 1e3))
    };
    let percent = |share: Option<Spread>| {
        share.map_or(String::new(), |share| format!("{:.0} %", share.median * 100.0))
    };
    let mut row = vec![
        figures.contestant.to_owned(),
        figures.cost.map_or("failed".to_owned(), |cost| number(cost.median)),
        figures.cost.map_or(String::new(), |cost| range(cost.min, cost.max)),
    ];
    row.extend(figures.ratios.iter().map(|ratio| ratio.map_or(String::new(), ratio_text)));
    row.extend([
        figures.rate.map_or(String::new(), |rate| number(rate.median)),
        latency(|latency| latency.p50_ns),
        latency(|latency| latency.p99_ns),
        latency(|latency| latency.p999_ns),
        figures.resident_bytes.map_or(String::new(), |rss| number(rss.median / 1048576.0)),
        percent(figures.server_busy),
        percent(figures.load_busy),
        figures.starved.map_or(String::new(), |lost| format!("{:.0}..{:.0}", lost.min, lost.max)),
    ]);
    row
}

fn ratio_text(ratio: Spread) -> String {
    format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max)
}

fn range(min: f64, max: f64) -> String {
    format!("({}..{})", number(min), number(max))
}

/// A figure with three or more significant digits, and its thousands apart.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.find('.').unwrap_or(text.len());
    let first = usize::from(text.starts_with('-'));
    let mut grouped = String::with_capacity(text.len() + 4);
    for (index, digit) in text.char_indices() {
        if index > first && index < whole && (whole - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Columns in which no row but the heading says anything are left out.
fn drop_empty_columns(rows: &mut [Vec<String>]) {
    let columns = rows[0].len();
    let used: Vec<bool> =
        (0..columns).map(|column| rows[1..].iter().any(|row| !row[column].is_empty())).collect();
    for row in rows {
        let mut used = used.iter();
        row.retain(|_| *used.next().expect("as many cells as columns"));
    }
}

/// Names to the left, everything else to the right.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => line += &format!("  {cell:<width$}"),
                _ => line += &format!("  {cell:>width$}"),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_not_too_precise() {
        let texts = [0.0, 3.456, 45.67, 312.4, 1234.5, 1234567.0, -1234.0].map(number);
        assert_eq!(texts, ["0.00", "3.46", "45.7", "312", "1,234", "1,234,567", "-1,234"]);
    }

    #[test]
    fn every_contestant_has_a_row_and_every_failure_a_line() {
        let text = all(&super::super::tests::example());
        assert!(text.starts_with("Linux 6.18, A CPU, 2 cores"), "{text}");
        assert!(text.contains("3,300  (3,000..3,600)  1.00 (1.00..1.00)"), "{text}");
        assert!(text.contains("\n  broken              failed\n"), "{text}");
        assert!(text.contains("broken failed in 3 rounds: never started"), "{text}");
        assert!(text.contains("raw-uring failed in 1 rounds: it <fell> over"), "{text}");
        assert!(text.contains("/floor is raw-uring"), "{text}");
        assert!(text.contains("not measured: go: no go here"), "{text}");
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_gone() {
        let mut rows = [["name", "cost", "", "x"], ["é", "10", "", ""], ["longer", "9", "", "y"]]
            .map(|row| row.map(str::to_owned).to_vec());
        drop_empty_columns(&mut rows);
        assert_eq!(align(&rows), "  name    cost  x\n  é         10\n  longer     9  y\n");
    }
}
