//! Stage 3: may the call go now? Circuit, then a place among the integration's calls, then a permit.

use super::{Failure, call::Fetch};
use crate::{model::CallPhase, telemetry::attributes};
use bascule_resilience::{Ask, BulkheadPermit, Permit};

/// Permission to call the provider: kept to the end of the answer's body.
pub(super) struct Admitted {
    pub(super) place: BulkheadPermit,
    /// None when the caller skips the circuit.
    pub(super) permit: Option<Permit>,
}

/// Waits for a place within the deadline. A circuit that opens meanwhile refuses the waiters.
pub(super) async fn admit(fetch: &Fetch) -> Result<Admitted, Box<Failure>> {
    let breaker = &fetch.operation.breaker;
    let mut now = fetch.services.now();
    fetch.progress.switch(CallPhase::Queue, now);
    let ask = Ask { priority: fetch.priority(), deadline: fetch.deadline };
    let waiting = fetch.integration.bulkhead.acquire(&*fetch.services.clock, ask);
    let mut waiting = std::pin::pin!(waiting);
    if fetch.skip.circuit {
        let place = waiting.await.map_err(|overloaded| Failure::overloaded(&overloaded))?;
        return Ok(Admitted { place, permit: None });
    }
    loop {
        if let Err(refused) = breaker.check(now) {
            fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
            return Err(Failure::circuit_open(&refused));
        }
        tokio::select! {
            biased;
            place = &mut waiting => {
                let place = place.map_err(|overloaded| Failure::overloaded(&overloaded))?;
                return with_permit(fetch, place);
            }
            // The check says whether a probe is due, which goes on waiting, or for how long to stay away.
            () = breaker.opened() => now = fetch.services.now(),
        }
    }
}

fn with_permit(fetch: &Fetch, place: BulkheadPermit) -> Result<Admitted, Box<Failure>> {
    match fetch.operation.breaker.acquire(fetch.services.now(), fetch.services.unit()) {
        Ok(permit) => Ok(Admitted { place, permit: Some(permit) }),
        Err(refused) => {
            fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
            Err(Failure::circuit_open(&refused))
        }
    }
}
