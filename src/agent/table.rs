//! The one thing that threads share: the membership table with its outboxes, behind one lock.
//!
//! The outboxes are filled while the table is still locked ([`Table::post`]), and are plain queues
//! in memory; nothing blocks under the lock.

use crate::membership::Members;
use crate::node::Table;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A handle to the table, one for each thread.
#[derive(Clone, Debug)]
pub(crate) struct SharedTable(Arc<RwLock<Table>>);

impl SharedTable {
    /// Shares a table.
    pub(crate) fn new(members: Members) -> Self {
        SharedTable(Arc::new(RwLock::new(Table::new(members))))
    }

    /// Locks it for reading.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Table> {
        // A thread that panics takes the process down, so a poisoned lock is never seen for long.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it for changing.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
