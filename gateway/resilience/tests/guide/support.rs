//! What the tests stand on: a clock that is moved by hand, and servers that can be stopped and started again.
//!
//! Every server belongs to one test, lies in a temporary folder and ends with the test, also when that panics. PostgreSQL
//! and Redis listen on sockets in that folder instead of ports: a port that is free while a server is down may be
//! taken by somebody else before it is back.

mod clock;
mod http;
mod postgres;
mod process;
mod redis;
mod silent;

pub(crate) use clock::HandClock;
pub(crate) use http::{Answer, Provider};
pub(crate) use postgres::Postgres;
pub(crate) use redis::Redis;
pub(crate) use silent::Silent;
