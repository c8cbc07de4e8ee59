//! Hands things to another thread: a list, and a bell that rings while it has items.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::{self, Bell};

pub struct Mailbox<T>(Mutex<Option<Open<T>>>);

struct Open<T> {
    items: Vec<T>,
    bell: Bell,
}

impl<T> Mailbox<T> {
    pub fn new() -> sys::Result<Self> {
        Ok(Self(Mutex::new(Some(Open { items: Vec::new(), bell: Bell::new()? }))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // no code that panics runs under the lock
    }

    /// @return: the item, if the mailbox is closed.
    pub fn put(&self, item: T) -> Result<(), T> {
        let mut inside = self.lock();
        let Some(open) = inside.as_mut() else { return Err(item) };
        open.items.push(item);
        if open.items.len() == 1 {
            open.bell.ring();
        }
        Ok(())
    }

    /// The items since the last call, in order.
    pub fn take(&self) -> Vec<T> {
        let mut inside = self.lock();
        let Some(open) = inside.as_mut() else { return Vec::new() };
        open.bell.silence();
        std::mem::take(&mut open.items)
    }

    /// Refuses further items. @return: those not taken.
    pub fn close(&self) -> Vec<T> {
        self.lock().take().map(|open| open.items).unwrap_or_default()
    }

    /// A descriptor that is readable while the mailbox has items. None: it is closed.
    pub fn fd(&self) -> Option<RawFd> {
        self.lock().as_ref().map(|open| open.bell.fd().as_raw_fd())
    }
}
