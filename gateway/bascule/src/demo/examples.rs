//! The example configuration, as it stands in `examples/`, and the values that point it at the stand-ins.
//!
//! One truth: these are the files that people copy, that `bascule check` is run on, and that the demo runs.

use super::{
    DemoConfig,
    fleet::{self, Fleet},
};
use std::path::PathBuf;

/// Path below the folder of the configuration, and contents.
const FILES: [(&str, &str); 5] = [
    ("bascule.toml", include_str!("../../../../examples/bascule.toml")),
    ("integrations/GitHubAPI.toml", include_str!("../../../../examples/integrations/GitHubAPI.toml")),
    ("integrations/WeatherAPI.toml", include_str!("../../../../examples/integrations/WeatherAPI.toml")),
    ("integrations/StripeAPI.toml", include_str!("../../../../examples/integrations/StripeAPI.toml")),
    (
        "integrations/StorageService.toml",
        include_str!("../../../../examples/integrations/StorageService.toml"),
    ),
];

/// How quickly cached weather grows old and its circuit is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A second each: nobody is waiting.
    Tour,
    /// Long enough to paste the next command.
    Person,
}

/// The files and variables of the demo's gateway.
///
/// # Errors
/// When the system gives no random octets for the admin token.
pub(crate) fn config(fleet: &Fleet, pace: Pace) -> Result<DemoConfig, aws_lc_rs::error::Unspecified> {
    let (ttl, reset_after) = match pace {
        Pace::Tour => ("1s", "1s"),
        Pace::Person => ("10s", "10s"),
    };
    let env = [
        ("BASCULE_LISTEN", "127.0.0.1:0".to_owned()),
        ("BASCULE_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
        ("BASCULE_ADMIN_TOKEN", random_token()?),
        ("BASCULE_VIEWER_TOKEN", random_token()?),
        ("GITHUB_API_URL", fleet.github.url("")),
        ("GITHUB_TOKEN", fleet::GITHUB_TOKEN.to_owned()),
        ("OPENWEATHER_API_URL", fleet.weather.url("/data/2.5")),
        ("OPENWEATHER_API_KEY", fleet::WEATHER_KEY.to_owned()),
        ("WEATHER_TTL", ttl.to_owned()),
        ("WEATHER_RESET_AFTER", reset_after.to_owned()),
        ("STRIPE_API_URL", fleet.stripe.url("/v1")),
        ("STRIPE_SECRET_KEY", fleet::STRIPE_KEY.to_owned()),
        ("S3_ENDPOINT_URL", fleet.s3.url("")),
        ("AWS_REGION", fleet::S3_REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", fleet::S3_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", fleet::S3_SECRET.to_owned()),
    ];
    Ok(DemoConfig {
        files: FILES.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect(),
        env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    })
}

/// 128 random bits in hexadecimal.
fn random_token() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests;
