//! The four stand-ins together, and the credentials that they accept.
//!
//! The credentials are fixed and public: they open nothing but these servers on loopback.

use super::{clock::Clock, github::GitHub, s3, standin::StandIn, stripe::Stripe, weather::Weather};

/// What the GitHub stand-in accepts.
pub(crate) const GITHUB_TOKEN: &str = "demo-github-token";
/// What the weather stand-in accepts.
pub(crate) const WEATHER_KEY: &str = "demo-openweather-key";
/// What the Stripe stand-in accepts.
pub(crate) const STRIPE_KEY: &str = "demo-stripe-key";
/// The access key id of the S3 stand-in.
pub(crate) const S3_KEY_ID: &str = "DEMOACCESSKEYID";
/// The secret access key of the S3 stand-in.
pub(crate) const S3_SECRET: &str = "demo-secret-access-key";
/// The region of the S3 stand-in.
pub(crate) const S3_REGION: &str = "us-east-1";
/// The bucket that it has from the start.
pub(crate) const S3_BUCKET: &str = "bascule-demo";

/// The running stand-ins.
pub(crate) struct Fleet {
    /// Of `api.github.com`.
    pub(crate) github: StandIn,
    /// Of `api.openweathermap.org`.
    pub(crate) weather: StandIn,
    /// Of `api.stripe.com`.
    pub(crate) stripe: StandIn,
    /// Of S3.
    pub(crate) s3: StandIn,
}

impl Fleet {
    /// Starts all four, each on a port of its own.
    ///
    /// # Errors
    /// When a loopback port cannot be had.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let clock = Clock::system();
        let keys = s3::Verifier {
            access_key_id: S3_KEY_ID.to_owned(),
            secret_access_key: S3_SECRET.to_owned(),
            region: S3_REGION.to_owned(),
            service: s3::Service::s3(),
        };
        Ok(Self {
            github: StandIn::start(GitHub::new(GITHUB_TOKEN, clock.clone())).await?,
            weather: StandIn::start(Weather::new(WEATHER_KEY, clock.clone())).await?,
            stripe: StandIn::start(Stripe::new(STRIPE_KEY, clock.clone())).await?,
            s3: StandIn::start(s3::S3::new(keys, &[S3_BUCKET], clock)).await?,
        })
    }
}
