//! Rounds, medians, spreads and the table of ratios.

use std::fmt::Write;

/// The rounds of one figure.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        percentile(&self.0, 50)
    }

    /// The farthest that a round lies from the median, as a share of it.
    pub fn spread(&self) -> f64 {
        let median = self.median();
        let farthest = self.0.iter().map(|value| (value - median).abs()).fold(0.0, f64::max);
        if median > 0.0 { farthest / median } else { 0.0 }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The `p`th of 100; 0 of nothing.
pub fn percentile(values: &[f64], p: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * p / 100).copied().unwrap_or_default()
}

/// Measures each of `names` once a round, in an order that turns every round.
pub fn interleave(
    rounds: u32,
    names: &[&str],
    mut measure: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for round in 0..rounds {
        for turn in 0..names.len() {
            let which = (turn + round as usize) % names.len();
            println!("round {} of {rounds}: {}", round + 1, names[which]);
            measure(which)?;
        }
    }
    Ok(())
}

/// One line of a comparison.
#[derive(Debug)]
pub struct Line {
    pub work: String,
    pub unit: &'static str,
    /// Whether more is better; otherwise less is.
    pub rate: bool,
    /// The ratio that the project set itself, if it did.
    pub aim: Option<f64>,
    pub ours: Samples,
    pub theirs: Samples,
}

impl Line {
    pub fn rate(work: &str, unit: &'static str) -> Self {
        Self { work: work.into(), unit, rate: true, aim: None, ours: Samples::default(), theirs: Samples::default() }
    }

    pub fn cost(work: &str, unit: &'static str) -> Self {
        Self { rate: false, ..Self::rate(work, unit) }
    }

    pub fn aim(self, aim: f64) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// Of server `which`: 0 is ours.
    pub fn add(&mut self, which: usize, value: f64) {
        if which == 0 { self.ours.add(value) } else { self.theirs.add(value) }
    }
}

/// A Markdown table: ours, theirs, and ours divided by theirs.
pub fn table(peer: &str, lines: &[Line]) -> String {
    let mut text = format!("| work | Ballast | {peer} | Ballast / {peer} | at least |\n|---|---|---|---|---|\n");
    for line in lines {
        let theirs = if line.theirs.is_empty() { "not measured".to_owned() } else { shown(&line.theirs, line.unit) };
        let ratio = line.ours.median() / line.theirs.median();
        let ratio = if line.theirs.is_empty() || !ratio.is_finite() { String::new() } else { format!("{ratio:.2}") };
        let aim = line.aim.map(|aim| format!("{aim:.1}")).unwrap_or_default();
        let less = if line.rate { "" } else { " (less is better)" };
        let _ =
            writeln!(text, "| {}{less} | {} | {theirs} | {ratio} | {aim} |", line.work, shown(&line.ours, line.unit));
    }
    text
}

fn shown(samples: &Samples, unit: &str) -> String {
    let median = samples.median();
    let digits = if median >= 100.0 {
        0
    } else if median >= 10.0 {
        1
    } else {
        2
    };
    format!("{median:.digits$} {unit} (±{:.0} %)", samples.spread() * 100.0)
}

/// The largest spread of the rates.
pub fn spread(lines: &[Line]) -> f64 {
    let rates = lines.iter().filter(|line| line.rate);
    rates.flat_map(|line| [line.ours.spread(), line.theirs.spread()]).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_medians_and_the_spread_is_of_the_farthest_round() {
        let mut line = Line::rate("writes", "/s").aim(0.5);
        for (ours, theirs) in [(100.0, 400.0), (150.0, 390.0), (110.0, 500.0)] {
            line.add(0, ours);
            line.add(1, theirs);
        }
        let text = table("ext4", std::slice::from_ref(&line));
        assert!(text.contains("| writes | 110 /s (±36 %) | 400 /s (±25 %) | 0.28 | 0.5 |"), "{text}");
        assert!((spread(&[line]) - 40.0 / 110.0).abs() < 1e-9);
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        let mut line = Line::cost("latency", "ms");
        line.add(0, 0.25);
        let text = table("Kafka", &[line]);
        assert!(text.contains("| latency (less is better) | 0.25 ms (±0 %) | not measured |  |  |"), "{text}");
    }

    #[test]
    fn the_order_turns_every_round() {
        let mut order = Vec::new();
        interleave(2, &["a", "b"], |which| {
            order.push(which);
            Ok(())
        })
        .unwrap();
        assert_eq!(order, [0, 1, 1, 0]);
    }
}
