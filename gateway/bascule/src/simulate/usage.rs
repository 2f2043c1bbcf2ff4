//! How much of its windows a limiter's traffic ever used.

use bascule_resilience::RateWindow;
use std::{collections::VecDeque, time::Duration};

/// The windows of one limiter.
pub(super) struct Usage {
    pub(super) name: String,
    pub(super) windows: Vec<Peak>,
}

/// One window, sliding, and the most that was ever in it.
pub(super) struct Peak {
    pub(super) window: Duration,
    pub(super) requests: u32,
    pub(super) peak: u64,
    /// What is in the window. The limiter lets no more in than `requests` and a burst.
    sent: VecDeque<(Duration, u32)>,
    sum: u64,
}

impl Usage {
    pub(super) fn new(name: String, windows: &[RateWindow]) -> Self {
        let peak = |window: &RateWindow| Peak {
            window: window.window,
            requests: window.requests.get(),
            peak: 0,
            sent: VecDeque::new(),
            sum: 0,
        };
        Self { name, windows: windows.iter().map(peak).collect() }
    }

    /// Counts an attempt that is sent at `now`, measured from any fixed time.
    pub(super) fn sent(&mut self, now: Duration, cost: u32) {
        for window in &mut self.windows {
            window.sent(now, cost);
        }
    }
}

impl Peak {
    fn sent(&mut self, now: Duration, cost: u32) {
        while let Some((at, gone)) = self.sent.front().copied()
            && at.saturating_add(self.window) <= now
        {
            self.sent.pop_front();
            self.sum -= u64::from(gone);
        }
        self.sent.push_back((now, cost));
        self.sum += u64::from(cost);
        self.peak = self.peak.max(self.sum);
    }

    /// The peak as a share of what the window allows; over 1 where a burst came on top.
    pub(super) fn share(&self) -> f64 {
        self.peak as f64 / f64::from(self.requests.max(1))
    }
}
