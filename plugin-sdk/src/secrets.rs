//! Secrets as they are. Takes a grant `reveal:NAME` for each, about which the operator is warned.
//!
//! The last resort, for schemes that neither [`secret`](crate::secret) nor [`crypto`](crate::crypto) can
//! express: what is revealed can be given away.

pub use crate::generated::imports::bascule::plugin::secrets::reveal;
