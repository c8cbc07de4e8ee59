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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::sys::Epoll;
    use crate::testing::among_others;

    const COUNT: i32 = if cfg!(miri) { 20 } else { 2000 };

    fn watch<T>(mailbox: &Mailbox<T>) -> Epoll {
        let epoll = Epoll::new().unwrap();
        epoll.watch(sys::borrow(mailbox.fd().unwrap()), sys::IN, 0).unwrap();
        epoll
    }

    fn rings<T>(mailbox: &Mailbox<T>) -> bool {
        watch(mailbox).wait(&mut [sys::NO_EVENT], 0) == 1
    }

    #[test]
    fn rings_while_it_has_items() {
        let _others = among_others();
        let mailbox = Mailbox::new().unwrap();
        assert!(!rings(&mailbox));
        assert!(mailbox.put(1).is_ok() && mailbox.put(2).is_ok() && rings(&mailbox));
        assert_eq!((mailbox.take(), rings(&mailbox), mailbox.take()), (vec![1, 2], false, vec![]));
        assert!(mailbox.put(3).is_ok() && rings(&mailbox));
        assert_eq!((mailbox.close(), mailbox.put(4), mailbox.take()), (vec![3], Err(4), vec![]));
        assert!(mailbox.fd().is_none());
    }

    #[test]
    fn loses_and_reorders_nothing_between_threads() {
        let _others = among_others();
        let mailbox = Arc::new(Mailbox::new().unwrap());
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || (0..COUNT).for_each(|number| mailbox.put((writer, number)).unwrap()))
            })
            .collect();
        let (mut next, epoll) = ([0; 3], watch(&mailbox));
        while next.iter().sum::<i32>() < 3 * COUNT {
            epoll.wait(&mut [sys::NO_EVENT], -1); // hangs if an item comes without the bell
            for (writer, number) in mailbox.take() {
                assert_eq!(number, next[writer]);
                next[writer] += 1;
            }
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}
