//! Stage 3: may the call go now? Circuit, then a place among the integration's calls, then a permit.

use super::{Failure, call::Fetch};
use crate::telemetry::attributes;
use bascule_resilience::{BulkheadPermit, Permit};

/// Permission to call the provider: kept to the end of the answer's body.
pub(super) struct Admitted {
    pub(super) place: BulkheadPermit,
    /// None when the caller skips the circuit.
    pub(super) permit: Option<Permit>,
}

/// Waits for a place within the deadline. A circuit that opens meanwhile refuses the waiters.
pub(super) async fn admit(fetch: &Fetch) -> Result<Admitted, Box<Failure>> {
    let breaker = &fetch.operation.breaker;
    let services = &fetch.services;
    if !fetch.skip.circuit
        && let Err(refused) = breaker.check(services.now())
    {
        fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
        return Err(Failure::circuit_open(&refused));
    }
    let waiting = fetch.integration.bulkhead.acquire(fetch.deadline.instant());
    let place = if fetch.skip.circuit {
        waiting.await
    } else {
        tokio::select! {
            biased;
            place = waiting => place,
            () = breaker.opened() => {
                // Falls through to the permit below, which says for how long.
                return refuse_or_wait(fetch).await;
            }
        }
    };
    let place = place.map_err(|overloaded| Failure::overloaded(&overloaded))?;
    with_permit(fetch, place)
}

/// The circuit opened while the call was queued: refused, unless a probe is due at this very moment.
async fn refuse_or_wait(fetch: &Fetch) -> Result<Admitted, Box<Failure>> {
    if let Err(refused) = fetch.operation.breaker.check(fetch.services.now()) {
        fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
        return Err(Failure::circuit_open(&refused));
    }
    let place = fetch.integration.bulkhead.acquire(fetch.deadline.instant()).await;
    let place = place.map_err(|overloaded| Failure::overloaded(&overloaded))?;
    with_permit(fetch, place)
}

fn with_permit(fetch: &Fetch, place: BulkheadPermit) -> Result<Admitted, Box<Failure>> {
    if fetch.skip.circuit {
        return Ok(Admitted { place, permit: None });
    }
    match fetch.operation.breaker.acquire(fetch.services.now(), fetch.services.unit()) {
        Ok(permit) => Ok(Admitted { place, permit: Some(permit) }),
        Err(refused) => {
            fetch.progress.event(attributes::event::CIRCUIT_OPEN, Vec::new);
            Err(Failure::circuit_open(&refused))
        }
    }
}
