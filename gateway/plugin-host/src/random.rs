//! Where random octets come from, passed in so that recorded plugin calls can be replayed.

/// A source of random octets for `random.bytes`.
pub trait RandomSource: Send + Sync {
    /// Fills `out` whole.
    ///
    /// # Errors
    /// [`RandomError`] when the source has nothing to give; the plugin call then traps.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// The random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random octets could be had")]
pub struct RandomError;

/// The operating system's generator, through aws-lc.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl RandomSource for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        aws_lc_rs::rand::fill(out).map_err(|_unspecified| RandomError)
    }
}
