//! What a server answers, without the client library's types.

use bytes::Bytes;
use redis::Value;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing: the key is not there.
    Nil,
    /// A number.
    Integer(i64),
    /// Octets, or a status such as `OK`.
    Bytes(Bytes),
    /// Several answers.
    List(Vec<Reply>),
}

impl Reply {
    /// The number, also where it is written as text.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Nil | Self::List(_) => None,
        }
    }

    /// The octets.
    #[must_use]
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Nil | Self::Integer(_) | Self::List(_) => None,
        }
    }

    /// The parts.
    #[must_use]
    pub fn into_list(self) -> Option<Vec<Self>> {
        match self {
            Self::List(list) => Some(list),
            Self::Nil | Self::Integer(_) | Self::Bytes(_) => None,
        }
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Int(number) => Self::Integer(number),
            Value::Boolean(yes) => Self::Integer(yes.into()),
            Value::BulkString(octets) => Self::Bytes(octets.into()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Bytes(text.into()),
            Value::Okay => Self::Bytes(Bytes::from_static(b"OK")),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Array(list) | Value::Set(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Map(pairs) => {
                Self::List(pairs.into_iter().flat_map(|(key, value)| [key.into(), value.into()]).collect())
            }
            Value::Attribute { data, .. } => Self::from(*data),
            _ => Self::Nil,
        }
    }
}
