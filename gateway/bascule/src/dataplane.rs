//! The data plane: HTTP in front of the pipeline.
//!
//! [`DataPlane`] turns a request into a [`Call`](crate::pipeline::Call) and what became of it into a
//! response. Everything that is about HTTP towards callers is here (routes, keys, header and body
//! limits, problem documents); everything that is about the provider is in the pipeline. Whatever
//! happens, a request ends in exactly one completion record.

mod body;
mod callers;
mod completion;
mod inbound;
mod ingest;
mod parameters;
mod queued;
mod respond;
mod route;

use crate::{
    model::{Code, Problem},
    pipeline::{self, Progress, Services},
    server::{Handler, ServerBody},
    telemetry::{TraceContext, attributes},
};
use completion::Completion;
use http::{Request, Response};
use hyper::body::Incoming;
use inbound::Inbound;
use route::Route;
use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

/// Answers callers.
#[derive(Clone)]
pub struct DataPlane {
    services: Arc<Services>,
    ready: Arc<AtomicBool>,
    inbound: Arc<Inbound>,
}

impl DataPlane {
    /// A data plane over these services; `ready` is what `/readyz` tells.
    pub fn new(services: Arc<Services>, ready: Arc<AtomicBool>) -> Self {
        Self { services, ready, inbound: Arc::default() }
    }

    async fn call(&self, request: Request<Incoming>, route: Result<Route, Problem>) -> Response<ServerBody> {
        let generation = self.services.generation.load_full();
        let parent = TraceContext::extract(request.headers());
        let span = self.services.telemetry.call_span(parent.as_ref(), SystemTime::now());
        let begun = self.services.now();
        let progress = Progress::new(span, begun, self.services.telemetry.keeps_journal());
        let path = request.uri().path().to_owned();
        progress.with_span(|span| {
            if span.is_recording() {
                span.attribute(attributes::span::METHOD, request.method().as_str().to_owned());
                span.attribute(attributes::span::URL_PATH, path);
            }
        });
        let method = request.method().clone();
        let mut completion = Completion::begin(&self.services, &progress, &method, begun);
        let timing = generation.config.server.server_timing;
        let prepared = match route {
            Ok(Route::Queued { id }) => {
                let known = ingest::Known {
                    services: &self.services,
                    generation: &generation,
                    inbound: &self.inbound,
                };
                let result = queued::status(known, &mut completion, request, &id).await;
                let failure = result.as_ref().err().map(|problem| problem.code.as_str());
                let ended = pipeline::Ended { result, failure, cause: None, rung: None };
                return respond::respond(ended, completion, &progress, &method, timing);
            }
            Ok(route) => {
                let known = ingest::Known {
                    services: &self.services,
                    generation: &generation,
                    inbound: &self.inbound,
                };
                ingest::prepare(known, &progress, &mut completion, request, route).await
            }
            Err(problem) => Err(Box::new(problem)),
        };
        let ended = match prepared {
            Ok(call) => {
                completion.entered();
                // Pinned where it is made: it is large, and to pass it on would copy it.
                let work = pin!(pipeline::handle(call));
                unless_it_panics(work).await
            }
            Err(problem) => {
                let failure = Some(problem.code.as_str());
                pipeline::Ended { result: Err(problem), failure, cause: None, rung: None }
            }
        };
        respond::respond(ended, completion, &progress, &method, timing)
    }
}

impl Handler for DataPlane {
    async fn handle(&self, request: Request<Incoming>) -> Response<ServerBody> {
        match route::find(&request) {
            Ok(Route::Live) => respond::plain("ok\n"),
            Ok(Route::Ready) if self.ready.load(Ordering::Relaxed) => respond::plain("ok\n"),
            Ok(Route::Ready) => respond::bare(&draining()),
            _ if !self.ready.load(Ordering::Relaxed) => respond::bare(&draining()),
            route => self.call(request, route).await,
        }
    }
}

/// A gateway on its way out takes no new calls; another one does.
fn draining() -> Problem {
    Problem::new(Code::Overloaded, "the gateway is shutting down").retry_after(Duration::from_secs(1))
}

/// A panic is a bug, and a bug is a 500 for this call and nothing for the others.
async fn unless_it_panics(mut work: Pin<&mut impl Future<Output = pipeline::Ended>>) -> pipeline::Ended {
    poll_fn(|cx| {
        // The future is not touched again after a panic: it is dropped with its guards.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))).unwrap_or_else(|_| {
            let problem =
                Problem::new(Code::Internal, "an internal error; the gateway's log has the details");
            Poll::Ready(pipeline::Ended {
                result: Err(Box::new(problem)),
                failure: Some("internal"),
                cause: None,
                rung: None,
            })
        })
    })
    .await
}
