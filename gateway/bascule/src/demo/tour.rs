//! `--once`: makes the calls that the demo is about, checks what comes back, and prints a table.
//!
//! Each step states what it expects and fails with what it saw instead; later steps run all the same. Where
//! something takes time (an entry growing old, a circuit being tried again) the step asks until it is so and
//! gives up after [`PATIENCE`]; nothing waits for a fixed time.

mod admin;
mod calls;
mod github;
mod storage;
mod stripe;
mod table;
mod weather;

use super::fleet::Fleet;
use std::{io::Write, net::SocketAddr, time::Duration};
use table::Table;

/// How long a step waits for a condition: several times what the slowest one takes.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where the gateway is.
pub(crate) struct Place {
    /// Its data plane.
    pub(crate) data: SocketAddr,
    /// Its admin plane.
    pub(crate) admin: SocketAddr,
    /// A token for the admin plane.
    pub(crate) admin_token: String,
}

/// Takes all steps in order. Returns whether all of them went as described.
///
/// # Errors
/// Only when `out` cannot be written to.
pub(crate) async fn run(place: &Place, fleet: &Fleet, out: &mut (dyn Write + Send)) -> anyhow::Result<bool> {
    let mut table = Table::new(out)?;
    github::steps(place, fleet, &mut table).await?;
    weather::steps(place, fleet, &mut table).await?;
    stripe::steps(place, fleet, &mut table).await?;
    storage::steps(place, fleet, &mut table).await?;
    admin::steps(place, &mut table).await?;
    table.finish()
}

/// Asks until the answer is `Some`, an error, or [`PATIENCE`] is over.
async fn until<T>(what: &str, look: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let looking = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => anyhow::bail!("{what} did not happen within {PATIENCE:?}"),
    }
}
