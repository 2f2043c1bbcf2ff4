//! What both ways of the network share: streams that notice when nothing moves.

mod stall;

pub use stall::{StallGuard, Traffic};
