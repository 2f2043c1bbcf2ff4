//! Reading the metrics of a gateway.

use super::Client;

/// The metrics as they stand.
pub struct Metrics(String);

impl Metrics {
    /// Scrapes an admin plane without tokens.
    pub async fn of(admin: &Client) -> Self {
        let answer = admin.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self(answer.text())
    }

    /// The value of the one series of that name with these labels, whatever others it has; 0 without one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.series(name).filter(|line| has_all(line, labels)).map(value).collect();
        assert!(found.len() < 2, "{name} {labels:?} is not one series:\n{}", self.0);
        found.first().copied().unwrap_or(0.0)
    }

    /// The sum of the values of all such series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name).filter(|line| has_all(line, labels)).map(value).sum()
    }

    /// The label names of a metric, sorted; empty when it has no series.
    pub fn labels(&self, name: &str) -> Vec<String> {
        let Some(line) = self.series(name).next() else { return Vec::new() };
        let inner =
            line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
        let mut names: Vec<String> =
            inner.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
        names.sort();
        names
    }

    /// `counter`, `gauge` or `histogram`.
    pub fn kind(&self, name: &str) -> &str {
        let lead = format!("# TYPE {name} ");
        self.0.lines().find_map(|line| line.strip_prefix(lead.as_str())).unwrap_or_default()
    }

    /// All of the text.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.lines().filter(move |line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
    }
}

fn has_all(line: &str, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| {
        let pair = format!("{name}=\"{value}\"");
        line.contains(&format!("{{{pair}")) || line.contains(&format!(",{pair}"))
    })
}

fn value(line: &str) -> f64 {
    line.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number: {line}"))
}
