//! One tunnel: two sockets and two directions. The contract is the docstring of `sniproxy/relay/relay.py`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::direction::{Context, Direction, Step};
use crate::sys::{self, BROKEN, ENDS, Errno, IN, OUT};

/// Maximum reads of one direction before other sockets are served.
pub const ROUNDS: usize = 4;
/// Bytes of one direction after which other sockets are served.
pub const MAX_TURN_BYTES: u64 = 1 << 20;

/// The side that opened the tunnel, and the direction up, which reads it.
pub const CLIENT: usize = 0;
/// The other side, and the direction down, which reads it.
pub const TARGET: usize = 1;

/// What other threads read of a tunnel.
pub struct Shared {
    /// Bytes written to the target and to the client.
    pub moved: [AtomicU64; 2],
    /// Bits: the sides whose end was read.
    pub ended: AtomicU8,
    /// Bits: directions whose destination is full.
    pub blocked: AtomicU8,
    /// The two parts of the token, for the relay thread. Together with the counts of the `Arc` all this has 40 bytes:
    /// with one more, malloc takes 64.
    generation: AtomicU16,
    place: AtomicU32,
}

impl Shared {
    /// Finds nothing before the tunnel is relayed.
    pub fn token(&self) -> u64 {
        u64::from(self.generation.load(Relaxed)) << 32 | u64::from(self.place.load(Relaxed))
    }

    pub fn set_token(&self, token: u64) {
        self.generation.store((token >> 32) as u16, Relaxed);
        self.place.store(token as u32, Relaxed);
    }
}

/// Deadlines of a tunnel in milliseconds without a byte.
#[derive(Clone, Copy)]
pub struct Deadlines {
    /// 0: none.
    pub idle: u64,
    /// After one side has ended.
    pub half_closed: u64,
}

/// What a tunnel is besides its two sockets, when it begins or is resumed.
#[derive(Default)]
pub struct State {
    /// Bytes to write before all others, up and down.
    pub held: [Vec<u8>; 2],
    /// Bits: the sides whose end was read.
    pub ended: u8,
    /// The side that ended first: 0: none, 1: the client, 2: the target.
    pub first: u8,
    /// Bytes written to the target and to the client.
    pub moved: [u64; 2],
    /// The first and the seventh byte that came from the target. Empty: none came.
    pub answer: Vec<u8>,
    /// Milliseconds since the last byte crossed, or one side ended.
    pub quiet: u64,
}

#[derive(Debug, PartialEq)]
pub enum Outcome {
    Open,
    /// Both ends were passed on.
    Over,
    /// The connection of a side is broken.
    Lost(usize, Errno),
}

pub struct Tunnel {
    /// Returned in the ending.
    pub key: u32,
    pub shared: Arc<Shared>,
    pub sides: [OwnedFd; 2],
    pub ways: [Direction; 2],
    pub deadlines: Deadlines,
    /// When the last byte crossed, or one side ended. Before the tunnel is relayed: for how long that was before.
    pub active: u64,
    /// The side that ended first. NOBODY: none.
    first: u8,
    /// TIMED for each side, KEPT_ALIVE, ANSWERED.
    pub flags: u8,
    /// The first and the seventh byte that came from the target: what a TLS alert in the clear shows.
    answer: [u8; 2],
}

const NOBODY: u8 = 2;
/// Bit of the first side: TCP_USER_TIMEOUT is set on its socket.
pub const TIMED: u8 = 1;
/// Keep-alive is on. A short tunnel does without the system calls.
const KEPT_ALIVE: u8 = 4;
/// Bytes came from the target.
const ANSWERED: u8 = 8;

impl Tunnel {
    pub fn new(key: u32, sides: [OwnedFd; 2], state: State, deadlines: Deadlines) -> Self {
        let State { held: [up, down], ended, first, moved, answer, quiet } = state;
        let shared = Arc::new(Shared {
            moved: moved.map(AtomicU64::new),
            ended: AtomicU8::new(ended & 3),
            blocked: AtomicU8::new(0),
            generation: AtomicU16::new(u16::MAX),
            place: AtomicU32::new(u32::MAX),
        });
        let ways = [Direction::new(up, ended & 1 != 0), Direction::new(down, ended & 2 != 0)];
        let (first, answer) = (if matches!(first, 1 | 2) { first - 1 } else { NOBODY }, answer.first_chunk().copied());
        let flags = if answer.is_some() { ANSWERED } else { 0 };
        Self { key, shared, sides, ways, deadlines, active: quiet, first, flags, answer: answer.unwrap_or_default() }
    }

    /// Handles the events of one side.
    pub fn ready(&mut self, side: usize, events: u32, context: &mut Context) -> Outcome {
        let inbound = &mut self.ways[side];
        if events & ENDS != 0 {
            inbound.ends = true;
            let unread = inbound.blocked || inbound.ended;
            if events & BROKEN != 0 && unread && sys::is_over(self.sides[side].as_fd()) {
                return Outcome::Lost(side, sys::pending_error(self.sides[side].as_fd()));
            }
        }
        if events & (IN | ENDS) != 0 && !self.ways[side].blocked && !self.ways[side].queued {
            let outcome = self.pump(side, context);
            if outcome != Outcome::Open {
                return outcome;
            }
        }
        if events & OUT != 0 && self.ways[1 - side].blocked {
            return self.pump(1 - side, context);
        }
        Outcome::Open
    }

    /// Moves the bytes of one direction that can be moved now.
    pub fn pump(&mut self, way: usize, context: &mut Context) -> Outcome {
        let outcome = self.steps(way, context);
        self.publish(way, context);
        outcome
    }

    fn steps(&mut self, way: usize, context: &mut Context) -> Outcome {
        if self.ways[way].ended {
            return Outcome::Open;
        }
        for _ in 0..ROUNDS {
            let step = self.step(way, context);
            if way == TARGET && self.flags & ANSWERED == 0 && matches!(step, Step::Moved | Step::Full) {
                self.remember(context);
            }
            match step {
                Step::Moved => {}
                Step::Empty => return Outcome::Open,
                Step::End => return self.end(way, context),
                Step::Full => {
                    self.block(way, true, context);
                    return Outcome::Open;
                }
                Step::SourceBroke(error) => return Outcome::Lost(way, error),
                Step::TargetBroke(error) => {
                    self.publish(way, context);
                    self.pass_last_bytes(1 - way, context);
                    return Outcome::Lost(1 - way, error);
                }
            }
            let direction = &mut self.ways[way];
            if direction.blocked {
                self.block(way, false, context);
            } else if direction.dry && !direction.ends {
                return Outcome::Open;
            } else if context.moved >= MAX_TURN_BYTES {
                break;
            }
        }
        let direction = &mut self.ways[way];
        if !direction.queued {
            direction.queued = true;
            context.again.push(self.shared.token() | way as u64);
        }
        Outcome::Open
    }

    fn step(&mut self, way: usize, context: &mut Context) -> Step {
        self.ways[way].step(self.sides[way].as_fd(), self.sides[1 - way].as_fd(), context)
    }

    /// Keeps what the first read from the target shows. It was copied: a direction is bulky only after a read.
    #[cold]
    fn remember(&mut self, context: &Context) {
        self.flags |= ANSWERED;
        let [first, .., seventh] = context.buffer.first_chunk::<7>().copied().unwrap_or_default();
        self.answer = [first, if context.read >= 7 { seventh } else { 0 }];
    }

    /// The first and the seventh byte that came from the target. Empty: none came.
    pub fn answer(&self) -> &[u8] {
        if self.flags & ANSWERED == 0 { &[] } else { &self.answer }
    }

    /// The side that ended first: 0: none, 1: the client, 2: the target.
    pub fn ended_first(&self) -> u8 {
        if self.first == NOBODY { 0 } else { self.first + 1 }
    }

    /// Passes on what a broken source sent before, such as a TLS alert that is still in its socket.
    fn pass_last_bytes(&mut self, way: usize, context: &mut Context) {
        for _ in 0..ROUNDS {
            if self.ways[way].ended || self.step(way, context) != Step::Moved {
                break;
            }
        }
        self.publish(way, context);
    }

    /// Writes what is held and has room, because the tunnel ends.
    pub fn flush(&mut self, context: &mut Context) {
        for way in [CLIENT, TARGET] {
            let _ = self.ways[way].flush(self.sides[1 - way].as_fd(), context); // the tunnel ends anyhow
            self.publish(way, context);
        }
    }

    /// Counts what a direction has written in this turn.
    fn publish(&mut self, way: usize, context: &mut Context) {
        let moved = std::mem::take(&mut context.moved);
        if moved > 0 {
            let total = &self.shared.moved[way]; // no other thread writes it
            total.store(total.load(Relaxed) + moved, Relaxed);
            self.active = context.now;
        }
    }

    fn block(&mut self, way: usize, blocked: bool, context: &Context) {
        self.ways[way].block(blocked, context);
        let bits = u8::from(self.ways[CLIENT].blocked) | u8::from(self.ways[TARGET].blocked) << 1;
        self.shared.blocked.store(bits, Relaxed);
    }

    fn end(&mut self, way: usize, context: &mut Context) -> Outcome {
        self.ways[way].ended = true;
        self.shared.ended.store(self.ended(), Relaxed);
        if !self.ways[way].over {
            self.active = context.now;
        }
        if self.ways[1 - way].ended {
            return Outcome::Over; // the close ends it
        }
        if self.first == NOBODY {
            self.first = way as u8;
        }
        context.sweep_at = context.sweep_at.min(self.expiry().unwrap_or(u64::MAX));
        sys::end_writing(self.sides[1 - way].as_fd());
        Outcome::Open
    }

    /// Bits: the sides whose end was read.
    pub fn ended(&self) -> u8 {
        let [up, down] = self.ways.each_ref().map(|way| u8::from(way.ended || way.over));
        up | down << 1
    }

    /// When the tunnel ends if no byte crosses until then.
    pub fn expiry(&self) -> Option<u64> {
        let Deadlines { idle, half_closed } = self.deadlines;
        match (self.first != NOBODY, idle) {
            (true, 0) => Some(self.active + half_closed),
            (true, _) => Some(self.active + half_closed.min(idle)),
            (false, 0) => None,
            (false, _) => Some(self.active + idle),
        }
    }

    /// Lets the kernel end a connection whose peer has left data or window probes unanswered, and only such a one: see
    /// `sniproxy/relay/vanished.py`. Turns on keep-alive, for connections that are silent in both directions.
    pub fn bound_silence(&mut self, user_timeout: u32, probes: u8) {
        for (side, fd) in self.sides.iter().enumerate() {
            if let Some((retransmits, probed)) = sys::unanswered(fd.as_fd()) {
                if self.flags & KEPT_ALIVE == 0 {
                    sys::keep_alive(fd.as_fd());
                }
                let (bit, silent) = (TIMED << side, retransmits > 0 || probed >= probes);
                if silent != (self.flags & bit != 0) {
                    sys::set_user_timeout(fd.as_fd(), if silent { user_timeout } else { 0 });
                    self.flags ^= bit;
                }
            }
        }
        self.flags |= KEPT_ALIVE;
    }

    /// Undoes `bound_silence`, for the sockets get another owner.
    pub fn end_time_limits(&mut self) {
        for (side, fd) in self.sides.iter().enumerate() {
            if self.flags & TIMED << side != 0 {
                sys::set_user_timeout(fd.as_fd(), 0);
            }
        }
        self.flags &= !(TIMED | TIMED << 1);
    }

    /// Frees pipes and held bytes.
    pub fn release(&mut self, context: &mut Context) {
        for way in [CLIENT, TARGET] {
            self.ways[way].release(context);
        }
        self.shared.blocked.store(0, Relaxed);
    }
}
