//! The one upstream of all operations: it answers by path, and remembers what it was asked.
//!
//! Every connection serves one request, so that no request is ever sent twice because a kept one had died.

use super::plan::{Behaviour, Plan};
use crate::support::{RawProvider, read_head};
use parking_lot::Mutex;
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::io::AsyncWriteExt;

pub(super) struct Upstream {
    provider: RawProvider,
    state: Arc<State>,
}

struct State {
    behaviours: Vec<Behaviour>,
    well: AtomicBool,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    arrived: u32,
    targets: Vec<String>,
}

impl Upstream {
    pub(super) async fn start(plan: &Plan) -> Self {
        let state = Arc::new(State {
            behaviours: plan.operations.iter().map(|operation| operation.behaviour).collect(),
            well: AtomicBool::new(false),
            log: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let provider = RawProvider::new(move |mut stream| {
            let state = Arc::clone(&shared);
            async move {
                let head = read_head(&mut stream).await;
                let _ = stream.write_all(state.answer(&head).as_bytes()).await;
            }
        })
        .await;
        Self { provider, state }
    }

    pub(super) fn url(&self) -> String {
        self.provider.url()
    }

    /// Whether all answer, whatever they usually do.
    pub(super) fn all_is_well(&self, well: bool) {
        self.state.well.store(well, Ordering::SeqCst);
    }

    /// What has arrived since the last look.
    pub(super) fn take(&self) -> Vec<String> {
        mem::take(&mut self.state.log.lock().targets)
    }
}

impl State {
    fn answer(&self, head: &[u8]) -> String {
        let head = String::from_utf8_lossy(head);
        let Some(target) = head.split(' ').nth(1) else { return String::new() };
        let number = {
            let mut log = self.log.lock();
            log.arrived += 1;
            log.targets.push(target.to_owned());
            log.arrived
        };
        let name = target.trim_start_matches("/o").split('?').next().unwrap_or_default();
        let usual = name.parse().ok().and_then(|index: usize| self.behaviours.get(index).copied());
        let status = match usual {
            _ if self.well.load(Ordering::SeqCst) => "200 OK",
            Some(Behaviour::Answers) => "200 OK",
            Some(Behaviour::Fails) => "500 Internal Server Error",
            Some(Behaviour::Babbles) => return "what?\r\n\r\n".into(),
            Some(Behaviour::HangsUp | Behaviour::Refuses) => return String::new(),
            Some(Behaviour::NotFound) | None => "404 Not Found",
        };
        let body = format!("{target} {number}");
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }
}
