//! The table that the tour prints: a row appears as soon as its step is over.

use std::{io::Write, time::Instant};

/// Width of the first two columns; longer texts push the rest to the right.
const STEP_WIDTH: usize = 26;
const DONE_WIDTH: usize = 52;

/// A table on its way out.
pub(super) struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    begun: Instant,
    steps: usize,
    failed: usize,
}

impl<'a> Table<'a> {
    /// Prints the head.
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> anyhow::Result<Self> {
        writeln!(out, "        {:STEP_WIDTH$}  {:DONE_WIDTH$}  what came back", "step", "what was done")?;
        Ok(Self { out, begun: Instant::now(), steps: 0, failed: 0 })
    }

    /// Prints a row: `result` is what came back, or in what it differed from the description.
    pub(super) fn row(
        &mut self,
        step: &str,
        done: &str,
        result: anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        self.steps += 1;
        let (mark, text) = match result {
            Ok(text) => ("ok", text),
            Err(error) => {
                self.failed += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        writeln!(self.out, "{mark:<6}  {step:STEP_WIDTH$}  {done:DONE_WIDTH$}  {text}")?;
        self.out.flush()?;
        Ok(())
    }

    /// Prints the sum; returns whether no step failed.
    pub(super) fn finish(self) -> anyhow::Result<bool> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let (steps, failed) = (self.steps, self.failed);
        match failed {
            0 => writeln!(self.out, "\nall {steps} steps behaved as described, in {seconds:.1} s")?,
            _ => writeln!(self.out, "\n{failed} of {steps} steps FAILED, in {seconds:.1} s")?,
        }
        Ok(failed == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_shows_why_and_spoils_the_result() {
        let mut out = Vec::new();
        let mut table = Table::new(&mut out).unwrap();
        table.row("one", "GET /", Ok("200".to_owned())).unwrap();
        table.row("two", "GET /x", Err(anyhow::anyhow!("status 500, not 200"))).unwrap();
        assert!(!table.finish().unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("ok      one"), "{text}");
        assert!(text.contains("FAILED  two"), "{text}");
        assert!(text.contains("status 500, not 200"), "{text}");
        assert!(text.contains("1 of 2 steps FAILED"), "{text}");
    }
}
