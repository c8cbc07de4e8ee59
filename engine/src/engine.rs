//! The relay threads, and what their owner asks of them.

use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::{Builder, JoinHandle};

use crate::handover::{Command, Ending, Inbox, Kind, Silence};
use crate::mailbox::Mailbox;
use crate::relay::Relay;
use crate::sys::{self, EIO, Errno};
use crate::tunnel::{Deadlines, Shared, State, Tunnel};

pub struct Engine {
    threads: Vec<(Arc<Inbox>, JoinHandle<()>)>,
    endings: Arc<Mailbox<Ending>>,
    held: Arc<AtomicUsize>,
    pipes: Arc<AtomicUsize>,
    process: u32,
}

/// A tunnel, as its owner sees it.
pub struct Handle {
    pub shared: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl Handle {
    pub fn end(&self) {
        let _ = self.inbox.commands.put(Command::End(self.shared.clone())); // closed: all tunnels have ended
    }

    pub fn give_back(&self) {
        let _ = self.inbox.commands.put(Command::GiveBack(self.shared.clone()));
    }
}

impl Engine {
    pub fn new(threads: usize, silence: Silence) -> sys::Result<Self> {
        let (held, pipes) = (Arc::default(), Arc::default());
        let endings = Arc::new(Mailbox::new()?);
        let mut engine = Self { threads: Vec::new(), endings, held, pipes, process: std::process::id() };
        for number in 0..threads.max(1) {
            let relay = Relay::new(engine.endings.clone(), silence, engine.held.clone(), engine.pipes.clone())?;
            let inbox = relay.inbox();
            let builder = Builder::new().name(format!("relay-{number}"));
            let thread = sys::without_signals(|| builder.spawn(move || run(relay)));
            engine.threads.push((inbox, thread.map_err(|error: io::Error| error.raw_os_error().unwrap_or(EIO))?));
        }
        Ok(engine)
    }

    /// Readable while `endings` would return something.
    pub fn fd(&self) -> RawFd {
        self.endings.fd().unwrap_or(-1)
    }

    /// Takes over two open descriptors. @return: an error if no thread runs: then they stay the caller's.
    pub fn add(
        &self,
        key: u32,
        client: RawFd,
        target: RawFd,
        held: &[u8],
        deadlines: Deadlines,
    ) -> sys::Result<Handle> {
        let inbox = self.least_busy()?;
        let mut sent = 0;
        while sent < held.len() {
            match sys::send(sys::borrow(target), &held[sent..]) {
                Ok(count) if count > 0 => sent += count,
                _ => break, // the thread finds the same
            }
        }
        let held = [held[sent..].to_vec(), Vec::new()];
        let state = State { held, moved: [sent as u64, 0], ..State::default() };
        Ok(self.begin(inbox, Tunnel::new(key, [client, target].map(sys::adopt), state, deadlines)))
    }

    /// Takes over two open descriptors of a tunnel that was given back. @return: as `add`.
    pub fn resume(
        &self,
        key: u32,
        client: RawFd,
        target: RawFd,
        state: State,
        deadlines: Deadlines,
    ) -> sys::Result<Handle> {
        let inbox = self.least_busy()?;
        Ok(self.begin(inbox, Tunnel::new(key, [client, target].map(sys::adopt), state, deadlines)))
    }

    fn least_busy(&self) -> sys::Result<Arc<Inbox>> {
        let running = self.threads.iter().map(|(inbox, _)| inbox).filter(|inbox| inbox.commands.fd().is_some());
        Ok(running.min_by_key(|inbox| inbox.tunnels.load(Relaxed)).ok_or(libc::ESHUTDOWN)?.clone())
    }

    /// Hands a tunnel to its thread.
    fn begin(&self, inbox: Arc<Inbox>, tunnel: Tunnel) -> Handle {
        let shared = tunnel.shared.clone();
        inbox.tunnels.fetch_add(1, Relaxed);
        if let Err(Command::Add(tunnel)) = inbox.commands.put(Command::Add(tunnel)) {
            // The thread has failed just now.
            inbox.tunnels.fetch_sub(1, Relaxed);
            let moved = shared.moved.each_ref().map(|count| count.load(Relaxed));
            let answer = tunnel.answer().to_vec();
            let (key, kind, errno, sides) = (tunnel.key, Kind::Unwatched, EIO, tunnel.sides.map(Some));
            let held = [Vec::new(), Vec::new()];
            let ending = Ending { key, kind, errno, side: 0, moved, sides, held, answer, first: 0, quiet: 0 };
            let _ = self.endings.put(ending);
        }
        Handle { shared, inbox }
    }

    pub fn endings(&self) -> Vec<Ending> {
        self.endings.take()
    }

    /// Bytes that blocked directions hold.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Open pipes.
    pub fn pipes(&self) -> usize {
        self.pipes.load(Relaxed)
    }

    /// Tunnels that were added and have not ended.
    pub fn tunnels(&self) -> usize {
        self.threads.iter().map(|(inbox, _)| inbox.tunnels.load(Relaxed)).sum()
    }

    /// For tests: moves the clock of the threads forward by milliseconds, and waits until they have done what is due.
    pub fn advance(&self, milliseconds: u64) {
        for (inbox, _) in &self.threads {
            let (sender, receiver) = channel();
            let _ = inbox.commands.put(Command::Advance(milliseconds, sender));
            let _ = receiver.recv(); // ends when the thread drops the sender
        }
    }
}

/// Stops the threads and closes all descriptors.
impl Drop for Engine {
    fn drop(&mut self) {
        self.endings.close();
        for (inbox, thread) in self.threads.drain(..) {
            // A forked process has no such thread, and a join would never return.
            if self.process == std::process::id() {
                let _ = inbox.commands.put(Command::Stop);
                let _ = thread.join();
            }
        }
    }
}

/// The body of a thread. A failure ends its tunnels in order, and no others; the panic hook reports it on stderr.
fn run(mut relay: Relay) {
    let failed = catch_unwind(AssertUnwindSafe(|| relay.run())).is_err();
    relay.close(failed);
}

/// Converts seconds to milliseconds: at most 8,900 years. Not a number and less than 0 become 0.
pub fn milliseconds(seconds: f64) -> u64 {
    ((seconds * 1000.0) as u64).min(1 << 48)
}

/// The message of an error number, as strerror(3) has it.
pub fn message(errno: Errno) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.strip_suffix(&format!(" (os error {errno})")).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
