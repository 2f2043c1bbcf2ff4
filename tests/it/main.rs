//! Integration tests: the real gateway in front of scripted providers, over real sockets.
//!
//! Every test starts its own gateway on free ports from its own configuration, so they run in
//! parallel and share nothing but the process.

mod support;

mod calls;
