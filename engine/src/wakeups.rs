//! How soon a relay thread runs when it wakes, and whether it preempts others.
//!
//! A thread that sleeps in epoll_wait preempts, by default, whoever made its first socket ready. If that is a process
//! that makes many sockets ready, one after the other, each wake-up finds few of them, and costs two switches between
//! the two. With SCHED_BATCH the thread waits until its CPU is free or the other's slice is over, at most some
//! milliseconds, and finds more. On a CPU that is idle nothing changes, and neither for a connection alone.

use crate::sys;

/// Average of ready sockets at a wake-up from which on the thread does not preempt.
const MANY: u32 = 4;
/// Average below which it does again.
const FEW: u32 = 2;
/// Time slice: the shortest that Linux allows. A thread needs some microseconds for each socket, and soon.
const SLICE_NS: u64 = 100_000;
/// About how many wake-ups the average covers.
const COVERED: u32 = 32;

pub struct Wakeups {
    /// The average, times COVERED.
    ready: u32,
    /// The thread's policy is SCHED_BATCH, because we set it.
    batch: bool,
    /// We may set the policy, and nobody has chosen another one.
    able: bool,
}

impl Wakeups {
    /// For the thread that calls it. It asks at once whether it may: a sandbox that ends the process for the call does
    /// so when the proxy starts, not under load.
    pub fn new() -> Self {
        sys::ask_for_slice(SLICE_NS);
        Self { ready: 0, batch: false, able: sys::change_policy(libc::SCHED_OTHER, libc::SCHED_OTHER) }
    }

    /// The thread woke up and found this many ready sockets.
    #[inline]
    pub fn count(&mut self, ready: usize) {
        self.ready = self.ready - self.ready / COVERED + ready as u32;
        let batch = self.ready >= if self.batch { FEW } else { MANY } * COVERED;
        if batch != self.batch && self.able {
            self.change(batch);
        }
    }

    #[cold]
    fn change(&mut self, batch: bool) {
        let (before, after) =
            if batch { (libc::SCHED_OTHER, libc::SCHED_BATCH) } else { (libc::SCHED_BATCH, libc::SCHED_OTHER) };
        self.able = sys::change_policy(before, after);
        self.batch = batch && self.able;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use libc::{SCHED_BATCH, SCHED_OTHER};

    use super::*;

    fn has(policy: i32) -> bool {
        sys::change_policy(policy, policy)
    }

    fn count(wakeups: &mut Wakeups, ready: usize, times: u32) {
        (0..times).for_each(|_| wakeups.count(ready));
    }

    /// Runs a test in a thread of its own, whose policy it may change.
    fn alone(test: fn()) {
        thread::spawn(test).join().unwrap();
    }

    #[test]
    fn few_sockets_preempt() {
        alone(|| {
            let mut wakeups = Wakeups::new();
            count(&mut wakeups, 1, 1000);
            count(&mut wakeups, MANY as usize - 1, 1000);
            assert!(has(SCHED_OTHER));
        });
    }

    #[test]
    fn one_large_wakeup_is_not_many() {
        alone(|| {
            let mut wakeups = Wakeups::new();
            count(&mut wakeups, 64, 1);
            count(&mut wakeups, 1, 1000);
            count(&mut wakeups, 64, 1);
            assert!(has(SCHED_OTHER));
        });
    }

    #[test]
    fn many_sockets_wait_until_they_are_few() {
        alone(|| {
            let mut wakeups = Wakeups::new();
            count(&mut wakeups, 16, 2 * COVERED);
            assert!(has(SCHED_BATCH));
            count(&mut wakeups, FEW as usize + 1, 1000); // between the two limits nothing changes
            assert!(has(SCHED_BATCH));
            count(&mut wakeups, 1, 4 * COVERED);
            assert!(has(SCHED_OTHER));
            count(&mut wakeups, 16, 2 * COVERED);
            assert!(has(SCHED_BATCH));
        });
    }

    #[test]
    fn another_policy_stays() {
        alone(|| {
            let earlier = Wakeups::new();
            assert!(sys::change_policy(SCHED_OTHER, SCHED_BATCH)); // as an operator may choose, at the start or later
            for mut wakeups in [earlier, Wakeups::new()] {
                count(&mut wakeups, 16, 1000);
                count(&mut wakeups, 1, 1000);
                assert!(has(SCHED_BATCH));
            }
        });
    }
}
