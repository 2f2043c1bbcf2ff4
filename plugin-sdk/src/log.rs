//! The gateway's log. At most 32 lines and 8 KiB per phase; the host cuts what is more.
//!
//! Messages are for people and stay the same from call to call; what varies goes into the fields.

use crate::generated::imports::bascule::plugin::log as host;

pub use host::{Level, enabled};

/// Writes a line at that level, if it is enabled.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    // The copies are made only for lines that somebody reads.
    if enabled(level) {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        host::write(level, message, &fields);
    }
}

/// Writes a line at level error, if that is enabled.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write(Level::Error, message, fields);
}

/// Writes a line at level warn, if that is enabled.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write(Level::Warn, message, fields);
}

/// Writes a line at level info, if that is enabled.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write(Level::Info, message, fields);
}

/// Writes a line at level debug, if that is enabled.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    write(Level::Debug, message, fields);
}
