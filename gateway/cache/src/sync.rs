//! The locks, channels and tasks of the coalescer and of shared bodies, in one place so that a test can put a scheduler beneath.
//!
//! With the feature `shuttle` locks and tasks are the scheduler's, and every use of a channel is a point at which it
//! may let another task run. The inside of the channels is trusted as it is: tokio explores it with loom.

#[cfg(not(feature = "shuttle"))]
pub(crate) use {
    parking_lot::Mutex,
    tokio::{
        spawn,
        sync::{Notify, watch},
        task::AbortHandle,
    },
};

#[cfg(feature = "shuttle")]
pub(crate) use {
    explored::{Mutex, Notify, watch},
    shuttle::future::{AbortHandle, spawn},
};

#[cfg(feature = "shuttle")]
mod explored {
    use shuttle::sync::{MutexGuard, PoisonError, atomic};
    use tokio::sync::futures::Notified;

    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Lets the scheduler choose who goes on.
    fn point() {
        atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
    }

    pub(crate) struct Notify(tokio::sync::Notify);

    impl Notify {
        pub(crate) fn new() -> Self {
            Self(tokio::sync::Notify::new())
        }

        pub(crate) fn notified(&self) -> Notified<'_> {
            point();
            self.0.notified()
        }

        pub(crate) fn notify_waiters(&self) {
            point();
            self.0.notify_waiters();
        }
    }

    pub(crate) mod watch {
        use super::point;
        use tokio::sync::watch;

        pub(crate) struct Sender<T>(watch::Sender<T>);
        pub(crate) struct Receiver<T>(watch::Receiver<T>);

        pub(crate) fn channel<T>(first: T) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = watch::channel(first);
            (Sender(sender), Receiver(receiver))
        }

        impl<T> Sender<T> {
            pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
                point();
                self.0.send_if_modified(modify)
            }

            pub(crate) fn borrow(&self) -> watch::Ref<'_, T> {
                point();
                self.0.borrow()
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
}
