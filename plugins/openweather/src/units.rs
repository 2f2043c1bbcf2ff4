//! OpenWeather's three systems of units, and how the answer names them.

/// What temperatures and speeds are given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Units {
    /// Celsius; OpenWeather gives m/s, the answer km/h.
    Metric,
    /// Fahrenheit, mph.
    Imperial,
    /// Kelvin, m/s. What OpenWeather takes when it is told nothing.
    Standard,
}

impl Units {
    /// By OpenWeather's own name, which is also the carry.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"metric" => Some(Self::Metric),
            b"imperial" => Some(Self::Imperial),
            b"standard" => Some(Self::Standard),
            _ => None,
        }
    }

    /// By the name of the unit of temperature.
    pub(crate) fn of_temperature(unit: &str) -> Option<Self> {
        match unit {
            "celsius" => Some(Self::Metric),
            "fahrenheit" => Some(Self::Imperial),
            "kelvin" => Some(Self::Standard),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Imperial => "imperial",
            Self::Standard => "standard",
        }
    }

    pub(crate) fn temperature(self) -> &'static str {
        match self {
            Self::Metric => "celsius",
            Self::Imperial => "fahrenheit",
            Self::Standard => "kelvin",
        }
    }

    pub(crate) fn wind(self) -> &'static str {
        match self {
            Self::Metric => "km/h",
            Self::Imperial => "mph",
            Self::Standard => "m/s",
        }
    }

    /// A wind speed of OpenWeather in the unit of [`Units::wind`].
    pub(crate) fn wind_speed(self, speed: f64) -> f64 {
        if self == Self::Metric { speed * 3.6 } else { speed }
    }
}
