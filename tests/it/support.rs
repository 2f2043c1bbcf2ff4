//! What the tests are made of: a gateway, providers, a client.

mod binary;
mod client;
mod gateway;
mod guest;
mod metrics;
mod observe;
mod provider;
mod wait;
pub mod wat;

pub use binary::{Served, command, config_folder, run};
pub use client::{Answer, Client};
pub use gateway::Gateway;
pub use guest::{guest, shipped};
pub use metrics::Metrics;
pub use observe::{Gate, eventually};
pub use provider::{Provider, RawProvider, Request, read_head, refused_url, reply};
pub use wait::{until, until_async};
