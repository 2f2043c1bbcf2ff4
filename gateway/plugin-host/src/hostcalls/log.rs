//! `log`: lines go to the observer, within the caps of a call and with known secrets blanked out.

use crate::bindings::bascule::plugin::log::{Host, Level};
use crate::state::State;

impl Host for State {
    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(self.shared.observer.enabled(&self.shared.name, level))
    }

    fn write(
        &mut self,
        level: Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let bytes = fields.iter().fold(message.len(), |sum, (name, value)| sum + name.len() + value.len());
        let admitted = self.log.admit(bytes);
        let remembered = matches!(level, Level::Error);
        if !admitted && !remembered {
            return Ok(());
        }
        let message = self.secrets().redact(message);
        if remembered {
            // What was cut out of a secret before could not be found any more: it comes here redacted.
            self.log.remember(&message);
        }
        if admitted {
            let secrets = self.secrets();
            let tidy = |(name, value)| (name, secrets.redact(value));
            let fields: Vec<_> = fields.into_iter().map(tidy).collect();
            self.shared.observer.log(&self.shared.name, self.hook.as_str(), level, &message, &fields);
        }
        Ok(())
    }
}

impl State {
    /// Logs what was written to the console and which request of its own was refused, and says how many lines or
    /// measurements were dropped, if any were. To be called when the phase is over.
    pub(crate) fn report_dropped(&mut self) {
        // A log that fails is no reason for a call to fail.
        let _ = self.log_console();
        let told = self.serving.as_mut().and_then(|serving| serving.take_told());
        if let Some(line) = told.filter(|line| self.log.admit(line.len())) {
            self.shared.observer.log(&self.shared.name, self.hook.as_str(), Level::Warn, &line, &[]);
        }
        let dropped = [(self.log.take_dropped(), "lines"), (self.measured.take_dropped(), "measurements")];
        for (dropped, what) in dropped.into_iter().filter(|(dropped, _)| *dropped > 0) {
            let message = format!("{dropped} {what} dropped");
            self.shared.observer.log(&self.shared.name, self.hook.as_str(), Level::Warn, &message, &[]);
        }
    }
}
