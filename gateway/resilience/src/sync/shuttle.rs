//! shuttle's locks and atomics, and tokio's channels, of which every use lets the scheduler choose who goes on.

use shuttle::sync::atomic::Ordering;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use shuttle::sync::{MutexGuard, PoisonError};

/// shuttle's mutex with the manners of `parking_lot`'s: no poison.
#[derive(Debug)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the scheduler choose who goes on.
fn point() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}

pub(crate) mod oneshot {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::oneshot;

    use super::point;

    pub(crate) struct Sender<T>(oneshot::Sender<T>);
    pub(crate) struct Receiver<T>(oneshot::Receiver<T>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            point();
            self.0.send(value)
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, oneshot::error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
            point();
            Pin::new(&mut self.0).poll(ctx)
        }
    }

    impl<T> Drop for Receiver<T> {
        /// Who sends may come before or after.
        fn drop(&mut self) {
            point();
        }
    }
}

pub(crate) mod watch {
    use tokio::sync::watch;

    use super::point;

    pub(crate) struct Sender<T>(watch::Sender<T>);
    pub(crate) struct Receiver<T>(watch::Receiver<T>);

    pub(crate) fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = watch::channel(first);
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Sender<T> {
        pub(crate) fn send_replace(&self, value: T) -> T {
            point();
            self.0.send_replace(value)
        }
    }

    impl<T> Drop for Sender<T> {
        /// The end of the channel is seen by others, too.
        fn drop(&mut self) {
            point();
        }
    }

    impl<T> Receiver<T> {
        pub(crate) async fn wait_for(
            &mut self,
            wanted: impl FnMut(&T) -> bool,
        ) -> Result<watch::Ref<'_, T>, watch::error::RecvError> {
            point();
            self.0.wait_for(wanted).await
        }
    }

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }
}
