//! One delivery: the call through the pipeline, and its end into the outbox.

use super::{
    bounds,
    judge::{Judged, backoff, judge},
    shown,
};
use crate::{
    model::{self, Payload, Place},
    pipeline::{Ended, LiveOperation, Progress, Queue, Services, handle, restore},
};
use bascule_outbox::{ANSWER_MAX, Answer, Ending, Entry, Error, Outbox, State};
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{sleep, timeout};

/// How long to wait before the end of a delivery is written once more, after the file could not be.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Octets of a failure's text that are kept.
const ERROR_MAX: usize = 500;

/// Delivers an entry that was claimed. Cancelled, it leaves the entry running, which the next open of the outbox mends.
pub(super) async fn deliver(services: Arc<Services>, queue: Arc<Queue>, entry: Entry) {
    let now = services.now();
    let span = services.telemetry.call_span(None, SystemTime::now());
    let progress = Progress::new(span, now, false);
    let place = &entry.call.place;
    progress.with_span(|span| span.name(&place.integration, &place.operation));
    let generation = services.generation.load_full();
    let call = match restore(&services, &generation, &entry.call, &progress) {
        Ok(call) => call,
        Err(error) => {
            tracing::warn!(id = %entry.id, operation = %shown(place), error, "a queued call was given up");
            progress.end(404, Some("unknown-operation"));
            let ending = Ending::Dead { error, answer: None };
            return write(&queue, move |outbox| finish(outbox, &entry, ending.clone())).await;
        }
    };
    let operation = Arc::clone(&call.operation);
    let ended = handle(call).await;
    let status = match &ended.result {
        Ok(answer) => answer.status.as_u16(),
        Err(problem) => problem.status.as_u16(),
    };
    let judged = judge(&ended, progress.totals().attempts, SystemTime::now());
    match judged {
        Judged::Final => {
            let answer = answer(ended, &operation, &progress).await;
            tracing::info!(id = %entry.id, operation = %shown(place), status, tries = entry.tries, "a queued call was delivered");
            operation.metrics.outbox_delivery("done");
            let ending = Ending::Done(answer);
            write(&queue, move |outbox| finish(outbox, &entry, ending.clone())).await;
        }
        Judged::Dead(error) => {
            tracing::warn!(id = %entry.id, operation = %shown(place), error, "a queued call was given up");
            operation.metrics.outbox_delivery("dead");
            let answer = answer(ended, &operation, &progress).await;
            let ending = Ending::Dead { error: cut(error), answer: Some(answer) };
            write(&queue, move |outbox| finish(outbox, &entry, ending.clone())).await;
        }
        Judged::Later(error, asked) => later(&services, &queue, &operation, &entry, error, asked).await,
        Judged::NotTried(wait) => {
            let next = SystemTime::now() + wait;
            write(&queue, move |outbox| outbox.put_back(entry.id, next).map(drop)).await;
        }
    }
    progress.end(status, None);
}

async fn later(
    services: &Services,
    queue: &Queue,
    operation: &LiveOperation,
    entry: &Entry,
    error: String,
    asked: Option<Duration>,
) {
    let now = SystemTime::now();
    let next = now + backoff(entry.tries, services.unit()).max(asked.unwrap_or_default());
    let bounds = bounds(&services.generation.load().config);
    let (id, error) = (entry.id, cut(error));
    tracing::debug!(%id, operation = %operation.full_name, error, "a queued call failed for now");
    let state = write(queue, move |outbox| outbox.retry_later(id, error.clone(), next, &bounds, now)).await;
    if state == Some(State::Dead) {
        tracing::warn!(%id, operation = %operation.full_name, "a queued call was given up: its time has passed");
        operation.metrics.outbox_delivery("dead");
    } else {
        operation.metrics.outbox_delivery("retried");
    }
}

fn finish(outbox: &Outbox, entry: &Entry, ending: Ending) -> Result<(), Error> {
    outbox.finish(entry.id, ending, SystemTime::now()).map(drop)
}

/// Writes until it is written: a disk that is full for now must not make a delivery happen twice. Meanwhile its place
/// among the deliveries stays taken, so that no others end the same way.
pub(super) async fn write<T: Default + Send + 'static>(
    queue: &Queue,
    work: impl Fn(&Outbox) -> Result<T, Error> + Send + Sync + 'static,
) -> T {
    let work = Arc::new(work);
    loop {
        let again = Arc::clone(&work);
        match queue.ask(move |outbox| again(outbox)).await {
            Ok(done) => return done,
            Err(Error::Closed) => return T::default(),
            Err(error) => tracing::error!(%error, "the end of a delivery could not be written"),
        }
        sleep(WRITE_AGAIN).await;
    }
}

/// The final answer, as much of it as is kept. A body that breaks off or takes too long is what had arrived by then.
async fn answer(ended: Ended, operation: &LiveOperation, progress: &Progress) -> Answer {
    let answer = match ended.result {
        Ok(answer) => answer,
        Err(problem) => {
            let place = Place { trace_id: Some(progress.trace_id()), ..Place::default() };
            return Answer {
                status: problem.status.as_u16(),
                content_type: Some(model::PROBLEM_JSON.to_owned()),
                body: problem.to_json(place).to_vec(),
                cut: false,
            };
        }
    };
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(Into::into);
    let status = answer.status.as_u16();
    let mut body = Vec::new();
    let cut = match answer.body {
        Payload::Full(octets) => {
            body.extend(octets.iter().take(ANSWER_MAX));
            octets.len() > ANSWER_MAX
        }
        Payload::Stream(mut stream) => {
            let whole = async {
                while let Some(frame) = stream.frame().await {
                    let Ok(frame) = frame else { return false };
                    let Ok(octets) = frame.into_data() else { continue };
                    let room = ANSWER_MAX - body.len();
                    body.extend(octets.iter().take(room));
                    if octets.len() > room {
                        return false;
                    }
                }
                true
            };
            !timeout(operation.policy.timeouts.whole, whole).await.unwrap_or(false)
        }
    };
    Answer { status, content_type, body, cut }
}

fn cut(mut error: String) -> String {
    if let Some((at, _)) = error.char_indices().nth(ERROR_MAX) {
        error.truncate(at);
    }
    error
}
