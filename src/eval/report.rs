//! A page with the figures and their plots, whole in one file: nothing is fetched to show it.

use std::fmt::Write;

use super::figures::{Figures, Record, percentile, share, sorted};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 44.0;
/// Ranks that are shown.
const RANKS: usize = 10;
/// Groups of questions by their relevance.
const GROUPS: usize = 10;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
    h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.6rem 0 .2rem}table{border-collapse:collapse}\
    td,th{padding:.15rem .9rem .15rem 0;text-align:left}td:last-child{font-variant-numeric:tabular-nums}\
    .plots{display:flex;flex-wrap:wrap;gap:1rem 2rem}p{margin:.2rem 0;color:#52606d;max-width:27rem}\
    svg{background:#fff}text{font:11px system-ui,sans-serif;fill:#52606d}";

/// Makes the page.
pub fn html(title: &str, figures: &Figures, records: &[Record]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
        escaped(title)
    );
    page.push_str("<table>");
    for (name, value) in rows(figures) {
        let _ = write!(page, "<tr><th>{}<td>{value}", escaped(&name));
    }
    page.push_str("</table><div class=\"plots\">");
    for plot in [ranks(records), abstention(records), calibration(records), times(records)] {
        page.push_str(&plot);
    }
    page.push_str("</div></html>\n");
    page
}

fn rows(figures: &Figures) -> Vec<(String, String)> {
    let value = serde_json::to_value(figures).unwrap_or_default();
    let mut rows = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(number) if value.is_u64() || number > 100.0 => rows.push((name.clone(), format!("{number:.0}"))),
            Some(number) => rows.push((name.clone(), format!("{number:.3}"))),
            None if value.is_null() => rows.push((name.clone(), "-".to_owned())),
            None => {}
        }
    }
    for stage in &figures.stages {
        rows.push((format!("{} p50 / p95, ms", stage.stage), format!("{:.0} / {:.0}", stage.p50_ms, stage.p95_ms)));
    }
    rows
}

/// Share of questions whose place is among the first k passages.
fn ranks(records: &[Record]) -> String {
    let answerable: Vec<&Record> = records.iter().filter(|record| record.answerable).collect();
    let points = (1..=RANKS).map(|rank| {
        let hits: f64 = answerable.iter().map(|record| record.hit(rank)).sum();
        ((rank - 1) as f64 / (RANKS - 1) as f64, share(hits, answerable.len()))
    });
    let mut plot = Plot::new(("1", "rank", "10"), "found");
    plot.line(points.collect(), "#1f6f8b");
    plot.titled("Rank curve", "Share of answerable questions whose passage is among the first k.")
}

/// Precision over recall of abstaining, at every threshold.
fn abstention(records: &[Record]) -> String {
    let mut ordered: Vec<&Record> = records.iter().collect();
    ordered.sort_by(|a, b| a.relevance.total_cmp(&b.relevance));
    let without = records.iter().filter(|record| !record.answerable).count();
    let mut rightly = 0;
    let mut points = Vec::new();
    for (at, record) in ordered.iter().enumerate() {
        rightly += usize::from(!record.answerable);
        points.push((share(f64::from(rightly as u32), without), share(f64::from(rightly as u32), at + 1)));
    }
    let mut plot = Plot::new(("0", "recall", "1"), "precision");
    plot.line(points, "#8b3a1f");
    plot.titled(
        "Abstention",
        "Of those refused, the share without an answer, over the share of those without that are refused, as the threshold rises.",
    )
}

/// How often questions of a relevance have an answer.
fn calibration(records: &[Record]) -> String {
    let mut points = Vec::new();
    for group in 0..GROUPS {
        let (low, high) = (group as f64 / GROUPS as f64, (group + 1) as f64 / GROUPS as f64);
        let is_in = |record: &&Record| record.relevance >= low && (record.relevance < high || group + 1 == GROUPS);
        let inside: Vec<&Record> = records.iter().filter(is_in).collect();
        if !inside.is_empty() {
            let answerable = inside.iter().filter(|record| record.answerable).count();
            let mean = share(inside.iter().map(|record| record.relevance).sum(), inside.len());
            points.push((mean, share(answerable as f64, inside.len())));
        }
    }
    let mut plot = Plot::new(("0", "relevance", "1"), "answerable");
    plot.line(vec![(0.0, 0.0), (1.0, 1.0)], "#c9d1d9");
    plot.dots(&points, "#1f6f8b");
    plot.line(points, "#1f6f8b");
    plot.titled(
        "Calibration",
        "Share of questions that have an answer, by the probability given; on the grey line it holds.",
    )
}

/// The time that a share of the questions took at most.
fn times(records: &[Record]) -> String {
    let times = sorted(records.iter().map(|record| record.ms));
    let most = times.last().copied().unwrap_or(0.0);
    let points = (0..=100).map(|i| {
        let q = f64::from(i) / 100.0;
        (q, if most > 0.0 { percentile(&times, q) / most } else { 0.0 })
    });
    let mut plot = Plot::new(("0 %", "questions", "100 %"), &format!("up to {most:.0} ms"));
    plot.line(points.collect(), "#3f7d20");
    plot.titled("Time", "Milliseconds from question to answer that a share of the questions took at most.")
}

/// A plot of values in 0..1 over values in 0..1.
struct Plot {
    svg: String,
}

impl Plot {
    fn new((left, below, right): (&str, &str, &str), beside: &str) -> Self {
        let mut svg = format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">");
        for tick in 0..=4 {
            let value = f64::from(tick) / 4.0;
            let (x, y) = Self::place((0.0, value));
            let end = WIDTH - 10.0;
            let _ = write!(svg, "<path d=\"M{x} {y}H{end}\" stroke=\"#e4e8ec\"/>");
            let _ = write!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>", x - 6.0, y + 4.0);
        }
        let base = HEIGHT - MARGIN + 16.0;
        for (at, anchor, text) in [(0.0, "start", left), (0.5, "middle", below), (1.0, "end", right)] {
            let (x, _) = Self::place((at, 0.0));
            let _ = write!(svg, "<text x=\"{x}\" y=\"{base}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
        }
        let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"14\">{}</text>", escaped(beside));
        Self { svg }
    }

    fn place((x, y): (f64, f64)) -> (f64, f64) {
        let left = MARGIN + x * (WIDTH - MARGIN - 10.0);
        (left, HEIGHT - MARGIN - y * (HEIGHT - MARGIN - 24.0))
    }

    fn line(&mut self, points: Vec<(f64, f64)>, colour: &str) {
        let places: Vec<String> = points.into_iter().map(Self::place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            self.svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            places.join(" ")
        );
    }

    fn dots(&mut self, points: &[(f64, f64)], colour: &str) {
        for (x, y) in points.iter().copied().map(Self::place) {
            let _ = write!(self.svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
    }

    fn titled(self, title: &str, text: &str) -> String {
        format!("<section><h2>{}</h2><p>{}</p>{}</svg></section>", escaped(title), escaped(text), self.svg)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::figures;
    use super::*;

    #[test]
    fn a_page_has_the_figures_and_four_plots_and_no_markup_of_its_title() {
        let record = |id: usize| Record {
            id: id.to_string(),
            answerable: id.is_multiple_of(2),
            relevance: 0.1 * id as f64,
            rank: Some(id),
            ms: 5.0,
            ..Record::default()
        };
        let records: Vec<Record> = (1..9).map(record).collect();
        for records in [&records[..], &[]] {
            let page = html("a <b>", &figures(records), records);
            assert_eq!(page.matches("<svg").count(), 4);
            assert!(page.contains("hit@5") && page.contains("a &lt;b&gt;") && !page.contains("NaN"), "{page}");
        }
    }
}
