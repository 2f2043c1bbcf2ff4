//! Settings of a fan-out: an operation that is made of other operations' calls.

use crate::model::{IntegrationName, OperationName};
use serde_json::{Map, Value};

/// One of the calls that a fan-out makes side by side.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its integration.
    pub integration: IntegrationName,
    /// Its operation.
    pub operation: OperationName,
    /// Its parameters (string values may hold placeholders for the fan-out's own); none: the fan-out's as they are.
    pub params: Option<Map<String, Value>>,
}
