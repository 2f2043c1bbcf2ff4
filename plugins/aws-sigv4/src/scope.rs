//! The date of a signature and its credential scope, `20150830/us-east-1/service/aws4_request`.
//!
//! Both are made once per signature, from one reading of the clock: date and time must not disagree at midnight.

use bascule_plugin::time::Utc;

use crate::settings::Settings;

/// When and for what a signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `20150830T123600Z`.
    pub(crate) timestamp: String,
    /// `20150830`.
    pub(crate) date: String,
    /// `20150830/us-east-1/service/aws4_request`.
    pub(crate) text: String,
}

impl Scope {
    /// The scope for seconds since 1970.
    pub(crate) fn new(settings: &Settings, seconds: i64) -> Self {
        let Utc { year, month, day, hour, minute, second } = Utc::from_epoch(seconds);
        let date = format!("{year:04}{month:02}{day:02}");
        Self {
            timestamp: format!("{date}T{hour:02}{minute:02}{second:02}Z"),
            text: format!("{date}/{}/{}/aws4_request", settings.region, settings.service),
            date,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_joins_date_region_and_service() {
        let settings = Settings::test("service", "us-east-1");
        let scope = Scope::new(&settings, 1_440_938_160);
        assert_eq!(scope.timestamp, "20150830T123600Z");
        assert_eq!(scope.text, "20150830/us-east-1/service/aws4_request");
    }
}
