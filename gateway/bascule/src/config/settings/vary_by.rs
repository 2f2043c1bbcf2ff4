//! What tells the stored answers of an operation apart.

use http::HeaderName;
use std::sync::Arc;

/// `vary_by` of an operation's `cache`. The default is everything that goes upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaryBy {
    /// Only these parameters; none: all.
    pub params: Option<Arc<[String]>>,
    /// Only these of the forwarded headers; none: all.
    pub headers: Option<Arc<[HeaderName]>>,
    /// Each caller has answers of its own.
    pub caller: bool,
}

impl VaryBy {
    /// Whether answers that differ in this parameter are different ones.
    pub fn has_param(&self, name: &str) -> bool {
        self.params.as_ref().is_none_or(|params| params.iter().any(|known| known == name))
    }

    /// Whether answers to requests that differ in this header are different ones.
    pub fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.as_ref().is_none_or(|headers| headers.contains(name))
    }
}
