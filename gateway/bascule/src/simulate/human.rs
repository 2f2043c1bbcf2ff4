//! The report as people read it: a sentence per integration, then the figures side by side.

use super::{
    recorded::Fate,
    report::{CircuitPart, LimitPart, Part, Report},
};
use crate::config::format_duration;
use std::{fmt::Write, time::Duration};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} calls from {} to {}", report.calls, report.from, report.to);
    if report.faults.dropped > 0 {
        let _ = writeln!(text, "{} more calls were dropped when they were recorded", report.faults.dropped);
    }
    if report.faults.unreadable > 0 {
        let _ = writeln!(text, "{} lines cannot be read:", report.faults.unreadable);
        for line in &report.faults.shown {
            let _ = writeln!(text, "  {line}");
        }
    }
    if !report.unknown.is_empty() {
        let _ = writeln!(text, "passed over, for the configuration has no such operation:");
        for (place, calls) in &report.unknown {
            let _ = writeln!(text, "  {}.{} ({calls} calls)", place.integration, place.operation);
        }
    }
    for part in &report.integrations {
        write_part(&mut text, part);
    }
    if report.integrations.len() > 1 {
        write_part(&mut text, &report.all);
    }
    text
}

fn write_part(text: &mut String, part: &Part) {
    let figures = &part.figures;
    let _ = writeln!(text, "\n{}: {}", part.name, part.sentence);
    let _ = writeln!(
        text,
        "  {} calls: {} replayed, {} from the cache, {} with another's answer, {} without the provider",
        figures.calls, figures.replayed, figures.cached, figures.coalesced, figures.aside
    );
    let _ = writeln!(text, "  {:<24}{:>12}{:>12}", "", "recorded", "simulated");
    let (before, after) = (&figures.recorded, &figures.simulated);
    let mut row = |name: &str, before: String, after: String| {
        let _ = writeln!(text, "  {name:<24}{before:>12}{after:>12}");
    };
    for fate in Fate::ALL {
        row(label(fate), before.of(fate).to_string(), after.of(fate).to_string());
    }
    row("attempts upstream", before.attempts.to_string(), after.attempts.to_string());
    row("  of them retries", before.retries.to_string(), after.retries.to_string());
    row("  of them hedges", before.hedges.to_string(), after.hedges.to_string());
    row("answers 429", before.throttled.to_string(), after.throttled.to_string());
    let hundredths = [50, 95, 99];
    for ((hundredth, before), after) in
        hundredths.iter().zip(before.percentiles(hundredths)).zip(after.percentiles(hundredths))
    {
        row(&format!("latency p{hundredth}, ms"), latency(before), latency(after));
    }
    let _ = writeln!(
        text,
        "  saved {} failed attempts, lost {} answered calls, won {}; 429 avoided {}, provoked {}",
        figures.saved, figures.lost, figures.won, figures.throttled_avoided, figures.throttled_provoked
    );
    let _ = writeln!(
        text,
        "  assumed {} of {} attempts ({:.1} %)",
        figures.assumed,
        after.attempts,
        figures.assumed_share() * 100.0
    );
    for circuit in &part.circuits {
        write_circuit(text, circuit);
    }
    for limit in &part.limits {
        write_limit(text, limit);
    }
}

const fn label(fate: Fate) -> &'static str {
    match fate {
        Fate::Succeeded => "succeeded",
        Fate::Rejected => "rejected",
        Fate::Failed => "failed",
        Fate::TimedOut => "timed out",
        Fate::CircuitOpen => "refused: circuit open",
        Fate::RateLimited => "refused: rate limit",
        Fate::Overloaded => "refused: overload",
        Fate::Left => "caller left",
    }
}

fn latency(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"))
}

fn write_circuit(text: &mut String, circuit: &CircuitPart) {
    if circuit.openings == 0 {
        return;
    }
    let mode = if circuit.mode == "auto" { String::new() } else { format!(" ({})", circuit.mode) };
    let _ = writeln!(
        text,
        "  circuit {}{mode}: {} openings, not closed for {} in all",
        circuit.name,
        circuit.openings,
        seconds(circuit.not_closed)
    );
    for (at, lasted, reason) in &circuit.listed {
        let lasted =
            lasted.map_or_else(|| "to the end".to_owned(), |lasted| format!("for {}", seconds(lasted)));
        let _ = writeln!(text, "    {at}  {lasted}  {reason}");
    }
    let more = circuit.openings - circuit.listed.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "    and {more} more");
    }
}

fn write_limit(text: &mut String, limit: &LimitPart) {
    let LimitPart { name, window, requests, peak, share } = limit;
    let window = format_duration(*window);
    let _ = writeln!(
        text,
        "  rate limit {name}: at most {peak} of {requests} in {window} ({:.0} %)",
        share * 100.0
    );
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}
