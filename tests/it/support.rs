//! What the tests are made of: a gateway, providers, a client.

mod client;
mod gateway;
mod provider;

pub use client::{Answer, Client};
pub use gateway::Gateway;
pub use provider::{Provider, RawProvider, Request, reply};
