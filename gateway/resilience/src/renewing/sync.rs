//! The lock and the channel of [`Renewing`](super::Renewing), in one place so that a test can put a scheduler beneath.
//!
//! With the feature `shuttle` the lock is the scheduler's, and every use of the channel is a point at which it may let
//! another task run. The inside of the channel is trusted as it is: tokio explores it with loom.

#[cfg(not(feature = "shuttle"))]
pub(super) use {parking_lot::Mutex, tokio::sync::watch};

#[cfg(feature = "shuttle")]
pub(super) use explored::{Mutex, watch};

#[cfg(feature = "shuttle")]
mod explored {
    use shuttle::sync::{MutexGuard, PoisonError, atomic};

    pub(in super::super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Lets the scheduler choose who goes on.
    fn point() {
        atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
    }

    pub(in super::super) mod watch {
        use super::point;
        use tokio::sync::watch;

        pub(in super::super::super) struct Sender<T>(watch::Sender<T>);
        pub(in super::super::super) struct Receiver<T>(watch::Receiver<T>);

        pub(in super::super::super) fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = watch::channel(first);
            (Sender(sender), Receiver(receiver))
        }

        impl<T> Sender<T> {
            pub(in super::super::super) fn send_replace(&self, value: T) -> T {
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
            pub(in super::super::super) async fn wait_for(
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
}
