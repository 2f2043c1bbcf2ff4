//! Reads the tables of the files into [`super::settings`], each value checked where it stands.
//!
//! One file per part of the vocabulary. What concerns several files (fallback ladders, names of other
//! integrations) is left to [`super::check`].

mod auth;
mod base_url;
mod breaker;
mod cache;
mod component;
mod fallback;
mod fan_out;
mod gateway;
mod headers;
mod integration;
mod journal;
mod limits;
mod operation;
mod outbox;
mod params;
mod plugins;
mod policies;
mod prefix;
mod query;
mod retry;
mod shared;
mod sources;
mod vary_by;

pub(crate) use breaker::SharedBreakers;
pub(crate) use component::CallPlace;
pub(crate) use fallback::{Link, RungPlace};
pub(crate) use gateway::{Gateway, gateway};
pub(crate) use integration::{IntegrationFile, integration};
pub(crate) use prefix::from_environment;
