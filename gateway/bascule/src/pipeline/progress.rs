//! What a call has done so far: its span, its counters, its stopwatch, its identity.
//!
//! Shared between the call and a fetch that runs as a task of its own, hence the locks; all are held
//! only for the length of an assignment. Such a fetch has a *branch* of its caller's progress, which it loses when
//! the caller no longer waits for it: what it does from then on is not the call's any more.

mod account;
mod notes;
mod stopwatch;

pub use account::{Looked, Totals};
pub(crate) use notes::Taken;
pub(super) use notes::{Judged, Noted};

use crate::{
    model::{CallPhase, Spent},
    telemetry::{AttemptSpan, CallSpan, KeyValue, PluginSpan},
};
use account::Account;
use http::{HeaderValue, Method};
use notes::Notes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use stopwatch::Stopwatch;

/// Progress of one call.
pub struct Progress {
    whose: Whose,
}

#[expect(clippy::large_enum_variant, reason = "a call allocates once; the few branches of it are small")]
enum Whose {
    Call(Account),
    Branch { of: Arc<Progress>, attached: AtomicBool },
}

/// Keeps a branch connected with its call. Dropped when the call no longer waits for the branch.
pub(super) struct Attached(Arc<Progress>);

impl Drop for Attached {
    fn drop(&mut self) {
        if let Whose::Branch { attached, .. } = &self.0.whose {
            // Under the stopwatch's lock: once this returns, no switch of the branch is under way any more.
            let stopwatch = &self.0.account().stopwatch;
            stopwatch.detach(self.0.owner(), || attached.store(false, Ordering::Release));
        }
    }
}

/// While it lives, several branches of the call run at once, and the call is in one phase whatever they do.
pub struct Overlap<'a> {
    progress: &'a Progress,
    effective: bool,
}

impl Overlap<'_> {
    /// The branches have come together: goes on in that phase. Merely dropped, the overlap's phase goes on until the
    /// next switch.
    pub fn end(mut self, after: CallPhase, now: Instant) {
        if std::mem::take(&mut self.effective) {
            self.progress.account().stopwatch.rejoin(self.progress.owner(), Some((after, now)));
        }
    }
}

impl Drop for Overlap<'_> {
    fn drop(&mut self) {
        if self.effective {
            self.progress.account().stopwatch.rejoin(self.progress.owner(), None);
        }
    }
}

impl Progress {
    /// Progress under this span of a call that was accepted at `begun`; `journal` says whether its attempts are
    /// noted for the journal.
    pub fn new(span: CallSpan, begun: Instant, journal: bool) -> Arc<Self> {
        let notes = journal.then(|| Notes::begun(begun));
        let account = Account::new(Some(span), Stopwatch::started(begun), notes);
        Arc::new(Self { whose: Whose::Call(account) })
    }

    /// Progress of work that no caller waits for.
    pub fn detached() -> Arc<Self> {
        Arc::new(Self { whose: Whose::Call(Account::new(None, Stopwatch::off(), None)) })
    }

    /// The same progress for a task of its own, and what keeps the two connected.
    pub(super) fn branch(self: &Arc<Self>) -> (Arc<Self>, Attached) {
        let whose = Whose::Branch { of: Arc::clone(self), attached: AtomicBool::new(true) };
        let branch = Arc::new(Self { whose });
        (Arc::clone(&branch), Attached(branch))
    }

    fn account(&self) -> &Account {
        match &self.whose {
            Whose::Call(account) => account,
            Whose::Branch { of, .. } => of.account(),
        }
    }

    /// Tells this progress from the call's others.
    fn owner(&self) -> stopwatch::Owner {
        std::ptr::from_ref(self).addr()
    }

    /// Whether what happens here still happens for the call.
    fn attached(&self) -> bool {
        match &self.whose {
            Whose::Call(_) => true,
            Whose::Branch { of, attached } => attached.load(Ordering::Acquire) && of.attached(),
        }
    }

    /// Goes on in another phase of the deadline ledger. `now` is the reading of the gateway's clock.
    pub fn switch(&self, phase: CallPhase, now: Instant) {
        self.enter(phase, now);
    }

    /// The same for a phase within a phase. What it returns is for [`back`](Self::back); who is cancelled in between
    /// leaves the phase to the next switch.
    pub fn enter(&self, phase: CallPhase, now: Instant) -> Option<CallPhase> {
        self.account().stopwatch.switch(phase, now, || self.attached())
    }

    /// Goes back to the phase that [`enter`](Self::enter) interrupted.
    pub fn back(&self, before: Option<CallPhase>, now: Instant) {
        if let Some(before) = before {
            self.enter(before, now);
        }
    }

    /// Several branches of the call begin to run at once ([`CallPhase::Hedge`], [`CallPhase::FanOut`]): until the
    /// overlap ends, switches are ignored. An overlap within another one changes nothing.
    pub fn overlap(&self, phase: CallPhase, now: Instant) -> Overlap<'_> {
        let effective = self.account().stopwatch.overlap(phase, now, self.owner(), || self.attached());
        Overlap { progress: self, effective }
    }

    /// Ends the stopwatch: how long the call was in which phase. Empty the second time.
    pub fn stop(&self, now: Instant) -> Spent {
        self.account().stopwatch.stop(now)
    }

    /// Unique per call, the same for all its attempts; made when first asked for.
    pub fn call_id(&self) -> Arc<str> {
        Arc::clone(self.account().call_id.get_or_init(|| uuid::Uuid::now_v7().to_string().into()))
    }

    /// The figures so far.
    pub fn totals(&self) -> Totals {
        self.account().totals()
    }

    /// Counts an attempt of the operation `of` (`integration.operation`) that begins now; `hedge` says whether it
    /// runs beside another one. The result is for [`judged`](Self::judged).
    pub(super) fn attempt(&self, of: &Arc<str>, now: Instant, hedge: bool) -> Noted {
        if !self.attached() {
            return Noted::default();
        }
        let account = self.account();
        account.attempts.fetch_add(1, Ordering::Relaxed);
        account.notes.as_ref().map_or_else(Noted::default, |notes| notes.attempt(of, now, hedge))
    }

    /// Takes down what an attempt came to.
    pub(super) fn judged(&self, noted: Noted, judged: &Judged<'_>) {
        let account = self.account();
        if self.attached() {
            let elapsed = u64::try_from(judged.elapsed.as_nanos()).unwrap_or(u64::MAX);
            account.upstream_ns.fetch_add(elapsed, Ordering::Relaxed);
        }
        if let Some(notes) = &account.notes {
            notes.judged(noted, judged);
        }
    }

    /// Takes down that an attempt was given up.
    pub(super) fn given_up(&self, noted: Noted, now: Instant) {
        if let Some(notes) = &self.account().notes {
            notes.given_up(noted, now);
        }
    }

    /// What is noted for the journal; once. None when no journal is kept.
    pub(crate) fn take_notes(&self) -> Option<Taken> {
        self.account().notes.as_ref()?.take()
    }

    /// Takes down what the cache had.
    pub(super) fn looked(&self, looked: Looked) {
        self.account().looked.store(looked as u8, Ordering::Relaxed);
    }

    /// What the cache had.
    pub fn cache(&self) -> Looked {
        self.account().looked()
    }

    /// Takes down whether the call is safe to repeat.
    pub(super) fn safe(&self, safe: bool) {
        self.account().safe.store(safe, Ordering::Relaxed);
    }

    /// Whether the call is safe to repeat; false until that is known.
    pub fn is_safe(&self) -> bool {
        self.account().safe.load(Ordering::Relaxed)
    }

    pub(super) fn add_plugin(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.account().plugin_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Works on the call's span, unless it has ended.
    pub fn with_span(&self, work: impl FnOnce(&mut CallSpan)) {
        if let Some(span) = &mut *self.account().span.lock() {
            work(span);
        }
    }

    /// Ends the call's span.
    pub fn end(&self, status: u16, error_type: Option<&str>) {
        if let Some(mut span) = self.account().span.lock().take() {
            span.end(status, error_type);
        }
    }

    pub(super) fn event(&self, name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
        self.with_span(|span| span.event(name, attributes));
    }

    pub(super) fn attempt_span(
        &self,
        resend: u32,
        method: &Method,
        url: impl FnOnce() -> String,
        host: &str,
        port: u16,
    ) -> Option<AttemptSpan> {
        let span = self.account().span.lock();
        let span = span.as_ref()?;
        let url = if span.is_recording() { url() } else { String::new() };
        Some(span.attempt(resend, method, &url, host, port))
    }

    pub(super) fn plugin_span(&self, hook: &'static str, plugin: &str) -> Option<PluginSpan> {
        self.account().span.lock().as_ref().map(|span| span.plugin(hook, plugin))
    }

    /// `traceparent` for the caller.
    pub fn traceparent(&self) -> HeaderValue {
        self.account().traceparent.clone()
    }

    /// Trace id in hex.
    pub fn trace_id(&self) -> &str {
        &self.account().trace_id
    }
}

#[cfg(test)]
mod tests;
