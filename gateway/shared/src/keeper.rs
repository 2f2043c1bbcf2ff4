//! The task that keeps the connection: makes it, watches it, makes it again.
//!
//! Tries are spread and grow apart, and a connection that did not last does not make them dense again; so a server that
//! accepts and then fails costs as little as one that is not there. A PING each second finds out about a server that
//! hangs while nobody calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::call::{CallError, Command};
use crate::connect::connect;
use crate::live::Live;
use crate::shared::Core;

/// The first pause between two tries to connect; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause. With it and the bound on connecting, a server that is back is used within 4 s.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A connection that lasted this long was a good one: the pauses start anew.
const STEADY: Duration = Duration::from_secs(10);

/// How often a connection is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Keeps a connection for as long as it is not aborted.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut tries = 0_u32;
    loop {
        match connect(&core.server, &core.options, core.hub.clone()).await {
            Ok(live) => {
                let since = Instant::now();
                let live = core.connected(live);
                watch(&core, &live).await;
                core.end(&live, "the connection was lost");
                if since.elapsed() >= STEADY {
                    tries = 0;
                }
            }
            Err(error) => core.meter.not_connected(error.to_string()),
        }
        sleep(pause(tries, (core.options.chance)())).await;
        tries = tries.saturating_add(1);
    }
}

/// The pause after so many tries: between half of it and all of it, so that gateways do not come in step.
fn pause(tries: u32, unit: f64) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX)).min(PAUSE_MAX);
    whole.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
}

/// Returns when the connection has ended.
async fn watch(core: &Core, live: &Arc<Live>) {
    loop {
        if !subscribe(core, live).await {
            return;
        }
        tokio::select! {
            () = live.over() => return,
            () = core.wanted.notified() => {}
            () = sleep(HEARTBEAT) => {
                let beat = core.call_on(live, live.begin_anyway(), Command::new("PING")).await;
                if matches!(beat, Err(CallError::Lost)) {
                    return;
                }
            }
        }
    }
}

/// Subscribes to what the connection does not carry yet. Says whether that could be done.
async fn subscribe(core: &Core, live: &Live) -> bool {
    for channel in core.hub.missing() {
        let mut connection = live.connection.clone();
        let done = timeout(core.options.connect_timeout, connection.subscribe(&*channel)).await;
        if !matches!(done, Ok(Ok(()))) {
            return false;
        }
        core.hub.subscribed(&channel);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_maximum_and_are_spread() {
        let pauses: Vec<_> = (0..8).map(|tries| pause(tries, 1.0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pause(0, 0.0), PAUSE_MIN / 2);
        assert_eq!(pause(u32::MAX, 0.0), PAUSE_MAX / 2);
    }
}
