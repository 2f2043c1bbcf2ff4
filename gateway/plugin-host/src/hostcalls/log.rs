//! `log`: lines go to the observer, within the caps of a call.

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
        if matches!(level, Level::Error) {
            self.log.remember(&message);
        }
        let bytes = fields.iter().fold(message.len(), |sum, (name, value)| sum + name.len() + value.len());
        if self.log.admit(bytes) {
            self.shared.observer.log(&self.shared.name, self.hook.as_str(), level, &message, &fields);
        }
        Ok(())
    }
}

impl State {
    /// Logs what was written to the console, and says how many lines were dropped, if any were. To be called when the phase is over.
    pub(crate) fn report_dropped_lines(&mut self) {
        // A log that fails is no reason for a call to fail.
        let _ = self.log_console();
        let dropped = self.log.take_dropped();
        if dropped > 0 {
            let message = format!("{dropped} lines dropped");
            self.shared.observer.log(&self.shared.name, self.hook.as_str(), Level::Warn, &message, &[]);
        }
    }
}
