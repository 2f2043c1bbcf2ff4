//! The suite's verdicts as a table, and why required cases fail.

use anyhow::{Context, Result};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// Where the table stands in the page.
const BEGIN: &str = "<!-- conformance: begin -->\n";
const END: &str = "<!-- conformance: end -->\n";

/// The suite's sign for a case that holds.
const PASSED: &str = "✅";

/// Why required cases fail.
const REASONS: &[(&str, &str)] = &[
    (
        "age-parse-prefix",
        "wants `Age: 0, 7200` to count as 0. Eleven other cases want an `Age` that is not one number to make the answer \
         stale; so it does here (RFC 9111 §5.1 lets a cache choose)",
    ),
    (
        "304-etag-update-response-ETag",
        "sends a 304 with another strong tag than the stored one. Such a 304 is about another representation (§4.3.4), so \
         the request is made again without conditions, which the suite takes for a retry",
    ),
    ("headers-store-Set-Cookie", COOKIES),
    ("304-etag-update-response-Set-Cookie", COOKIES),
    ("stale-close-must-revalidate", CLOSED),
    ("stale-close-proxy-revalidate", CLOSED),
    ("stale-close-no-cache", CLOSED),
    ("stale-close-s-maxage=2", CLOSED),
];
const COOKIES: &str = "an answer with `Set-Cookie` is shared only if it says `public` or `s-maxage` (§7.3); holds with \
                       `share_cookies = true`";
const CLOSED: &str = "the suite judges it only for caches that serve stale without leave (`stale-close`). Here the caller \
                      gets a 502, which the case, written for browsers, cannot tell from a cached answer";

/// One case.
struct Case {
    suite: String,
    id: String,
    kind: String,
    verdict: String,
    wrong: String,
    name: String,
}

/// All of them, in the suite's order.
pub(super) struct Results(Vec<Case>);

impl Results {
    /// Reads what the runner printed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let case = |line: &str| {
            let mut fields = line.split('\t').map(ToOwned::to_owned);
            let mut next = || fields.next().with_context(|| format!("an odd line of the runner: {line}"));
            Ok(Case {
                suite: next()?,
                id: next()?,
                kind: next()?,
                verdict: next()?,
                wrong: next()?,
                name: next()?,
            })
        };
        text.lines().map(case).collect::<Result<_>>().map(Self)
    }

    /// How many cases of each kind hold.
    pub(super) fn summary(&self) -> String {
        let of = |kind| {
            let all = self.0.iter().filter(|case| case.kind == kind);
            let holding = all.clone().filter(|case| case.verdict == PASSED).count();
            format!("{kind}: {holding} of {}", all.count())
        };
        format!("{}; {}", of("required"), of("optimal"))
    }

    /// Required cases that fail for a reason that nobody has given.
    pub(super) fn unexplained(&self) -> Vec<&str> {
        self.failed("required")
            .filter(|case| reason(&case.id).is_none())
            .map(|case| case.id.as_str())
            .collect()
    }

    /// Puts the table into the page, in place of the one that is there.
    pub(super) fn write_to(&self, page: &Path, version: &str) -> Result<()> {
        let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let (before, rest) = text.split_once(BEGIN).context("the page has no mark for the table's begin")?;
        let (_, after) = rest.split_once(END).context("the page has no mark for the table's end")?;
        fs::write(page, format!("{before}{BEGIN}{}{END}{after}", self.table(version)))?;
        Ok(())
    }

    fn failed(&self, kind: &str) -> impl Iterator<Item = &Case> {
        self.0.iter().filter(move |case| case.kind == kind && case.verdict != PASSED)
    }

    fn table(&self, version: &str) -> String {
        let mut suites: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for case in &self.0 {
            let [required, required_all, optimal, optimal_all] = suites.entry(&case.suite).or_default();
            let holds = usize::from(case.verdict == PASSED);
            match case.kind.as_str() {
                "required" => (*required, *required_all) = (*required + holds, *required_all + 1),
                "optimal" => (*optimal, *optimal_all) = (*optimal + holds, *optimal_all + 1),
                _ => {}
            }
        }
        let mut out = format!("Suite {version}. **{}.**\n\n", self.summary());
        out.push_str("| part | required | optimal |\n| --- | --- | --- |\n");
        // Writing to a String cannot fail.
        for (suite, [required, required_all, optimal, optimal_all]) in suites {
            let _ = writeln!(out, "| {suite} | {required} / {required_all} | {optimal} / {optimal_all} |");
        }
        out.push_str("\nRequired cases that do not hold, and why:\n\n| case | reason |\n| --- | --- |\n");
        for case in self.failed("required") {
            let _ = writeln!(out, "| `{}` | {} |", case.id, reason(&case.id).unwrap_or(&case.wrong));
        }
        out.push_str("\nOptimal cases that do not hold:\n\n| case | what it asks for |\n| --- | --- |\n");
        for case in self.failed("optimal") {
            let _ = writeln!(out, "| `{}` | {} |", case.id, case.name.replace('|', "\\|"));
        }
        out
    }
}

fn reason(id: &str) -> Option<&'static str> {
    REASONS.iter().find(|(known, _)| *known == id).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "age\tage-parse-prefix\trequired\t⛔️\tnot from cache\tA\n\
                         age\ta\trequired\t✅\t\tB\n\
                         age\tnew\trequired\t⛔️\tno\tC\n\
                         vary\tv\toptimal\t⚠️\tno\tD | E\n";

    #[test]
    fn failures_without_a_reason_are_named() {
        let results = Results::parse(LINES).unwrap();
        assert_eq!(results.unexplained(), ["new"]);
        assert_eq!(results.summary(), "required: 1 of 3; optimal: 0 of 1");
    }

    #[test]
    fn the_table_takes_the_place_of_the_one_before() {
        let page = std::env::temp_dir().join(format!("bascule-conformance-{}.md", std::process::id()));
        fs::write(&page, format!("# Page\n\n{BEGIN}earlier\n{END}\nmore\n")).unwrap();
        Results::parse(LINES).unwrap().write_to(&page, "1.0").unwrap();
        let text = fs::read_to_string(&page).unwrap();
        fs::remove_file(&page).unwrap();
        assert!(
            text.starts_with("# Page\n\n") && text.ends_with("\nmore\n") && !text.contains("earlier"),
            "{text}"
        );
        assert!(text.contains("| age | 1 / 3 | 0 / 0 |") && text.contains("| `v` | D \\| E |"), "{text}");
    }

    #[test]
    fn a_line_that_is_cut_off_is_refused() {
        assert!(Results::parse("age\ta\trequired\n").is_err());
    }
}
