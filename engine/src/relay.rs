//! A relay thread: an epoll set, its tunnels and their deadlines.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::direction::{BUFFER_BYTES, Context};
use crate::handover::{Command, Ending, Inbox, Kind, Silence};
use crate::mailbox::Mailbox;
use crate::pipes::Pipes;
use crate::slab::Slab;
use crate::sys::{self, ALL, EIO, Epoll, Errno, Event, IN, Timer};
use crate::tunnel::{CLIENT, Outcome, TARGET, Tunnel};
use crate::wakeups::Wakeups;

/// Maximum events of one turn.
const BATCH: usize = 128;
/// Milliseconds between two checks for unanswered peers and unused pipes.
const CHECK_INTERVAL_MS: u64 = 10_000;
/// Tunnels of one check before sockets are served: less than a millisecond.
const CHECK_BATCH: usize = 256;
/// Tunnels for which the list has room without being copied. It takes memory only as it is used.
const RESERVED: usize = 1 << 14;
/// Minimum milliseconds between two looks at all deadlines. A tunnel may outlive its deadline by this.
const SWEEP_INTERVAL_MS: u64 = 250;
/// The tokens of the mailbox's bell and of the timer.
const BELL: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

pub struct Relay {
    epoll: Epoll,
    timer: Timer,
    /// What the timer is set to. 0: it went off.
    timer_at: u64,
    inbox: Arc<Inbox>,
    endings: Arc<Mailbox<Ending>>,
    silence: Silence,
    tunnels: Slab<Tunnel>,
    context: Context,
    events: Box<[Event; BATCH]>,
    /// When the next check starts.
    check_at: u64,
    /// The place at which a check goes on.
    checking: Option<usize>,
    /// How far tests moved the clock.
    ahead: u64,
}

impl Relay {
    pub fn new(
        endings: Arc<Mailbox<Ending>>,
        silence: Silence,
        held: Arc<AtomicUsize>,
        pipes: Arc<AtomicUsize>,
    ) -> sys::Result<Self> {
        let (epoll, timer) = (Epoll::new()?, Timer::new()?);
        epoll.watch(timer.fd(), IN, TIMER)?;
        let inbox = Arc::new(Inbox { commands: Mailbox::new()?, tunnels: AtomicUsize::new(0) });
        if let Some(bell) = inbox.commands.fd() {
            epoll.watch(sys::borrow(bell), IN, BELL)?;
        }
        let buffer = vec![0; BUFFER_BYTES].into();
        let context = Context {
            buffer,
            pipes: Pipes::new(pipes),
            held,
            read: 0,
            now: 0,
            moved: 0,
            sweep_at: u64::MAX,
            again: Vec::new(),
        };
        let events = Box::new([sys::NO_EVENT; BATCH]);
        let tunnels = Slab::new(RESERVED);
        Ok(Self {
            epoll,
            timer,
            timer_at: u64::MAX,
            inbox,
            endings,
            silence,
            tunnels,
            context,
            events,
            check_at: u64::MAX,
            checking: None,
            ahead: 0,
        })
    }

    pub fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }

    /// Relays until it is stopped.
    pub fn run(&mut self) {
        let mut wakeups = Wakeups::new();
        loop {
            let wait = if self.context.again.is_empty() && self.checking.is_none() { -1 } else { 0 };
            let count = self.epoll.wait(&mut self.events[..], wait);
            if wait < 0 {
                wakeups.count(count);
            }
            if !self.turn(count, sys::now() + self.ahead) {
                return;
            }
        }
    }

    /// Handles the first `count` events, then all else that is due. @return: false: the relay was stopped.
    fn turn(&mut self, count: usize, now: u64) -> bool {
        self.context.now = now;
        let mut rang = false;
        let again = std::mem::take(&mut self.context.again); // what is queued now has its turn after this one
        for place in 0..count {
            let Event { events, u64: token } = self.events[place];
            if token == BELL {
                rang = true;
            } else if token == TIMER {
                self.timer_at = 0;
            } else if let Some(tunnel) = self.tunnels.get(token) {
                let outcome = tunnel.ready(token as usize & 1, events, &mut self.context);
                self.settle(token, outcome);
            } // else the tunnel ended in this turn
        }
        for token in again {
            if let Some(tunnel) = self.tunnels.get(token) {
                let way = token as usize & 1;
                tunnel.ways[way].queued = false;
                let outcome = tunnel.pump(way, &mut self.context);
                self.settle(token, outcome);
            }
        }
        // After the events: these are of tunnels that a command may end.
        let running = !rang || self.obey();
        self.look_at_clock();
        running
    }

    /// Obeys the commands. @return: false: to stop.
    fn obey(&mut self) -> bool {
        for command in self.inbox.commands.take() {
            match command {
                Command::Add(tunnel) => self.add(tunnel),
                Command::End(shared) => self.finish(shared.token(), Kind::Ended, 0),
                Command::GiveBack(shared) => self.finish(shared.token(), Kind::GivenBack, 0),
                Command::Advance(milliseconds, done) => {
                    self.ahead += milliseconds;
                    self.context.now += milliseconds;
                    self.look_at_clock();
                    drop(done);
                }
                Command::Stop => return false,
            }
        }
        true
    }

    #[inline]
    fn look_at_clock(&mut self) {
        if self.context.now >= self.context.sweep_at {
            self.sweep();
        }
        if self.context.now >= self.check_at || self.checking.is_some() {
            self.check();
        }
        let due = self.context.sweep_at.min(self.check_at);
        if due != self.timer_at {
            self.timer_at = due;
            self.timer.set((due < u64::MAX).then(|| due.saturating_sub(self.context.now)));
        }
    }

    fn add(&mut self, mut tunnel: Tunnel) {
        tunnel.active = self.context.now.saturating_sub(tunnel.active);
        let token = self.tunnels.insert(|token| {
            tunnel.shared.set_token(token);
            tunnel
        });
        let Some(tunnel) = self.tunnels.get(token) else { return };
        for side in [CLIENT, TARGET] {
            if let Err(error) = self.epoll.watch(tunnel.sides[side].as_fd(), ALL, token | side as u64) {
                return self.finish(token, Kind::Unwatched, error);
            }
        }
        if self.check_at == u64::MAX {
            self.check_at = self.context.now + CHECK_INTERVAL_MS;
        }
        self.context.sweep_at = self.context.sweep_at.min(tunnel.expiry().unwrap_or(u64::MAX));
        for way in [CLIENT, TARGET] {
            let Some(tunnel) = self.tunnels.get(token) else { return };
            if tunnel.ways[way].holds() || tunnel.ways[way].over {
                let outcome = tunnel.pump(way, &mut self.context);
                self.settle(token, outcome);
            }
        }
    }

    /// Acts on what became of a tunnel.
    fn settle(&mut self, token: u64, outcome: Outcome) {
        match outcome {
            Outcome::Open => {}
            Outcome::Over => self.finish(token, Kind::Ok, 0),
            Outcome::Lost(side, error) => self.finish(token & !1 | side as u64, Kind::Reset, error),
        }
    }

    /// Ends a tunnel. @param token: of its broken side for a reset. Nothing happens if the tunnel has ended.
    fn finish(&mut self, token: u64, kind: Kind, errno: Errno) {
        let Some(mut tunnel) = self.tunnels.remove(token) else { return };
        tunnel.shared.set_token(u64::MAX); // a late request finds nothing, however often the place was reused
        let context = &mut self.context;
        let first = tunnel.ended_first();
        let (mut kind, mut errno, mut side) = (kind, errno, first);
        let quiet = context.now.saturating_sub(tunnel.active);
        let mut held = [Vec::new(), Vec::new()];
        let mut returned = [true, true];
        match kind {
            Kind::Ok => returned = [false, false],
            Kind::Reset => {
                let broken = token as usize & 1;
                side = broken as u8 + 1;
                // A reset could discard the broken side's bytes and end that are still in transit to the other.
                returned[broken] = false;
                returned[1 - broken] = tunnel.ways[broken].ended;
            }
            Kind::Idle | Kind::Ended | Kind::Unwatched => tunnel.flush(context),
            Kind::GivenBack => {
                side = tunnel.ended();
                tunnel.end_time_limits();
                for (way, held) in tunnel.ways.iter_mut().zip(&mut held) {
                    match way.take_held(context) {
                        Ok(bytes) => *held = bytes,
                        Err(error) => (kind, errno) = (Kind::Unwatched, error), // bytes are lost: do not go on
                    }
                }
            }
        }
        tunnel.release(context);
        let answer = tunnel.answer().to_vec();
        let ([client, target], [client_returned, target_returned]) = (tunnel.sides, returned);
        let sides = [(client, client_returned), (target, target_returned)].map(|(fd, returned)| {
            if returned {
                self.epoll.unwatch(fd.as_fd());
                return Some(fd);
            }
            if kind == Kind::Reset {
                sys::reset_on_close(fd.as_fd());
            }
            None
        });
        self.inbox.tunnels.fetch_sub(1, Relaxed);
        let moved = tunnel.shared.moved.each_ref().map(|count| count.load(Relaxed));
        // A closed mailbox means that the engine is being closed: then the descriptors are closed, too.
        let key = tunnel.key;
        let _ = self.endings.put(Ending { key, kind, errno, side, moved, sides, held, answer, first, quiet });
    }

    /// Ends the tunnels whose deadline has come.
    #[cold]
    fn sweep(&mut self) {
        let now = self.context.now;
        let (mut over, mut next) = (Vec::new(), u64::MAX);
        for (token, tunnel) in self.tunnels.iter(0..usize::MAX) {
            match tunnel.expiry() {
                Some(expiry) if expiry <= now => over.push(token),
                Some(expiry) => next = next.min(expiry),
                None => {}
            }
        }
        self.context.sweep_at = if next == u64::MAX { next } else { next.max(now + SWEEP_INTERVAL_MS) };
        for token in over {
            self.finish(token, Kind::Idle, 0);
        }
    }

    /// Starts or continues a check for unanswered peers and unused pipes.
    #[cold]
    fn check(&mut self) {
        let first = self.checking.unwrap_or(0);
        let Silence { user_timeout, probes } = self.silence;
        for (_, tunnel) in self.tunnels.iter(first..first + CHECK_BATCH) {
            tunnel.bound_silence(user_timeout, probes);
        }
        self.checking = Some(first + CHECK_BATCH).filter(|next| *next < self.tunnels.places());
        if self.checking.is_none() {
            self.context.pipes.close_unused();
            let idle = self.tunnels.is_empty() && self.context.pipes.is_empty();
            self.check_at = if idle { u64::MAX } else { self.context.now + CHECK_INTERVAL_MS };
        }
    }

    /// The thread ends. @param failed: it has failed: return the tunnels.
    pub fn close(&mut self, failed: bool) {
        let commands = self.inbox.commands.close();
        self.context.moved = 0; // a failure may have left bytes of the direction that it stopped
        for command in commands.into_iter().filter(|_| failed) {
            if let Command::Add(tunnel) = command {
                self.tunnels.insert(|_| tunnel);
            }
        }
        let tokens: Vec<_> = self.tunnels.iter(0..usize::MAX).map(|(token, _)| token).collect();
        for token in tokens {
            if let Some(tunnel) = self.tunnels.get(token) {
                tunnel.release(&mut self.context);
            }
            if failed {
                self.finish(token, Kind::Unwatched, EIO);
            }
        }
        self.context.pipes.close_spare();
    }
}

#[cfg(test)]
mod tests;
