//! Transactions of some MiB, one after the other, for changes of any size.
//!
//! The decision: what is removed is overwritten, so it passes through the log as what is written does, and a transaction is
//! what the log must hold. Nothing here is lost by falling apart: a purge that was half done has not been answered.

use rusqlite::{Connection, Result, Transaction};

/// Octets of records that share a transaction, and with that the size of the log. One that is larger has its own.
pub(crate) const GROUP_MAX: u64 = 4 << 20;

/// The transaction that is open. Dropped, it is rolled back; those before it stay.
pub(crate) struct Group<'db> {
    db: &'db Connection,
    open: Option<Transaction<'db>>,
    octets: u64,
}

impl<'db> Group<'db> {
    pub(crate) fn begin(db: &'db Connection) -> Result<Self> {
        Ok(Self { db, open: Some(db.unchecked_transaction()?), octets: 0 })
    }

    pub(crate) fn db(&self) -> &'db Connection {
        self.db
    }

    /// Counts a change that was made, and begins the next transaction when this one is full.
    pub(crate) fn add(&mut self, octets: u64) -> Result<()> {
        self.octets = self.octets.saturating_add(octets);
        if self.octets >= GROUP_MAX {
            self.close()?;
            (self.open, self.octets) = (Some(self.db.unchecked_transaction()?), 0);
        }
        Ok(())
    }

    pub(crate) fn commit(mut self) -> Result<()> {
        self.close()
    }

    fn close(&mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), Transaction::commit)
    }
}
