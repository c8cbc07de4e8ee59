//! One direction of a tunnel: reads from one side, writes to the other.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::pipes::{Pipe, Pipes};
use crate::sys::{self, EAGAIN, EINVAL, EIO, ENOMEM, ENOSYS, EPERM, Errno};

/// Bytes of one read, and so what a direction holds in memory besides its first bytes.
pub const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of one read from which on the next one is spliced.
pub const BULK_BYTES: usize = 16 << 10;

/// What the tunnels of a thread share.
pub struct Context {
    pub buffer: Box<[u8]>,
    pub pipes: Pipes,
    /// Bytes that blocked directions hold, of other threads, too.
    pub held: Arc<AtomicUsize>,
    /// Bytes of the last read into the buffer.
    pub read: usize,
    /// Milliseconds, of the current turn.
    pub now: u64,
    /// Bytes that the current direction has written to its destination in this turn.
    pub moved: u64,
    /// When the next deadline of a tunnel may have come.
    pub sweep_at: u64,
    /// Tokens of sides that have not drained their socket.
    pub again: Vec<u64>,
}

/// How one step went.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// All bytes that were read are written.
    Moved,
    /// The source has ended, and all its bytes are written.
    End,
    /// There is nothing to read now.
    Empty,
    /// The destination takes no more now. The rest is held.
    Full,
    SourceBroke(Errno),
    TargetBroke(Errno),
}

/// What was read and not written. An idle direction has none of it.
#[derive(Default)]
struct Held {
    /// Bytes to write before all others, from `at` on.
    head: Vec<u8>,
    at: u32,
    /// Bytes in the pipe.
    inside: u32,
    pipe: Option<Pipe>,
    /// Bytes of this direction in `Context::held`.
    counted: u32,
}

impl Held {
    fn bytes(&self) -> usize {
        self.head.len() - self.at as usize + self.inside as usize
    }

    /// Moves the bytes of the pipe into memory.
    fn empty_pipe(&mut self, context: &mut Context) -> sys::Result<()> {
        if let Some(pipe) = self.pipe.take() {
            let start = self.head.len();
            self.head.resize(start + self.inside as usize, 0);
            let mut filled = start;
            while filled < self.head.len() {
                match sys::read(pipe.reader(), &mut self.head[filled..]) {
                    Ok(count) if count > 0 => filled += count,
                    result => {
                        self.inside = 0;
                        context.pipes.discard(pipe);
                        return Err(result.err().unwrap_or(EIO));
                    }
                }
            }
            self.inside = 0;
            context.pipes.give(pipe);
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Direction {
    held: Option<Box<Held>>,
    /// The source's end was passed on behind all bytes.
    pub ended: bool,
    /// The source's end was read before the tunnel was resumed: nothing is read behind what is held.
    pub over: bool,
    /// The source is not read, because the destination is full.
    pub blocked: bool,
    /// The last read drained the source: an event announces more.
    pub dry: bool,
    /// The source's end or loss was announced, and will not be announced again.
    pub ends: bool,
    /// In `Context::again`.
    pub queued: bool,
    bulky: bool,
    /// One of the sockets cannot be spliced.
    copies: bool,
}

impl Direction {
    /// @param head: written first. @param over: the source's end was read before.
    pub fn new(head: Vec<u8>, over: bool) -> Self {
        let mut direction = Self { dry: !over, over, ..Self::default() };
        if !head.is_empty() {
            direction.hold(Held { head, ..Held::default() });
        }
        direction
    }

    /// Whether bytes were read and not written.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }

    fn hold(&mut self, held: Held) {
        self.held = Some(Box::new(held));
    }

    /// Reads once, if nothing is held, and writes until all is written or there is no room.
    #[inline]
    pub fn step(&mut self, source: BorrowedFd, target: BorrowedFd, context: &mut Context) -> Step {
        let result = if self.holds() {
            self.flush(target, context)
        } else if self.over {
            return Step::End;
        } else if self.bulky && !self.copies {
            match self.fill_pipe(source, context) {
                Some(Step::Moved) => self.flush(target, context),
                Some(step) => return step,
                None => return self.copy(source, target, context),
            }
        } else {
            return self.copy(source, target, context);
        };
        match result {
            Ok(()) => Step::Moved,
            Err(EAGAIN) => Step::Full,
            Err(error) => Step::TargetBroke(error),
        }
    }

    #[inline]
    fn copy(&mut self, source: BorrowedFd, target: BorrowedFd, context: &mut Context) -> Step {
        let count = match sys::recv(source, &mut context.buffer) {
            Ok(0) => return Step::End,
            Ok(count) => count,
            Err(EAGAIN) => return Step::Empty,
            Err(error) => return Step::SourceBroke(error),
        };
        context.read = count;
        self.bulky = count >= BULK_BYTES;
        self.dry = count < context.buffer.len();
        let mut rest = &context.buffer[..count];
        let result = send_all(target, &mut rest);
        context.moved += (count - rest.len()) as u64;
        if result.is_ok() {
            return Step::Moved;
        }
        let head = rest.to_vec();
        self.hold(Held { head, ..Held::default() });
        match result {
            Err(EAGAIN) => Step::Full,
            Err(error) => Step::TargetBroke(error),
            Ok(()) => Step::Moved,
        }
    }

    /// @return: None: there is no pipe, or the source cannot be spliced.
    fn fill_pipe(&mut self, source: BorrowedFd, context: &mut Context) -> Option<Step> {
        let mut pipe = context.pipes.take(context.now)?;
        match sys::splice(source, pipe.writer(), pipe.size as usize) {
            Ok(count) if count > 0 => {
                // Each packet takes one of the pipe's slots, so a pipe may be full with a fraction of its bytes.
                if count >= pipe.size as usize / 4 {
                    context.pipes.enlarge(&mut pipe, context.now);
                }
                self.bulky = count >= BULK_BYTES;
                self.dry = false;
                self.hold(Held { inside: count as u32, pipe: Some(pipe), ..Held::default() });
                Some(Step::Moved)
            }
            result => {
                context.pipes.give(pipe);
                match result {
                    Ok(_) => Some(Step::End),
                    Err(EAGAIN) => Some(Step::Empty),
                    Err(EINVAL | ENOMEM | ENOSYS | EPERM) => {
                        self.copies = true;
                        None
                    }
                    Err(error) => Some(Step::SourceBroke(error)),
                }
            }
        }
    }

    /// Writes what is held until there is no room: only then the edge-triggered set announces room.
    pub fn flush(&mut self, target: BorrowedFd, context: &mut Context) -> sys::Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if !held.head.is_empty() {
            let mut rest = &held.head[held.at as usize..];
            let before = rest.len();
            let result = send_all(target, &mut rest);
            let sent = before - rest.len();
            context.moved += sent as u64;
            held.at += sent as u32;
            result?;
            held.head = Vec::new();
            held.at = 0;
        }
        while let Some(pipe) = held.pipe.take_if(|_| held.inside > 0) {
            match sys::splice(pipe.reader(), target, held.inside as usize) {
                Ok(count) if count > 0 => {
                    context.moved += count as u64;
                    held.inside -= count as u32;
                    if held.inside == 0 {
                        context.pipes.give(pipe);
                    } else {
                        held.pipe = Some(pipe);
                    }
                }
                result => {
                    held.pipe = Some(pipe);
                    let error = result.err().unwrap_or(EIO);
                    if !matches!(error, EINVAL | ENOMEM | ENOSYS | EPERM) {
                        return Err(error);
                    }
                    self.copies = true;
                    held.empty_pipe(context)?;
                    return self.flush(target, context);
                }
            }
        }
        self.drop_held(context);
        Ok(())
    }

    /// Takes the bytes that were read and not written.
    pub fn take_held(&mut self, context: &mut Context) -> sys::Result<Vec<u8>> {
        let Some(held) = &mut self.held else { return Ok(Vec::new()) };
        held.empty_pipe(context)?;
        let mut bytes = std::mem::take(&mut held.head);
        bytes.drain(..std::mem::take(&mut held.at) as usize);
        Ok(bytes)
    }

    /// Marks the destination as full or not, and counts what is held for it.
    pub fn block(&mut self, blocked: bool, context: &Context) {
        self.blocked = blocked;
        if let Some(held) = self.held.as_mut().filter(|_| blocked) {
            let count = held.bytes() as u32;
            context.held.fetch_add(count.wrapping_sub(held.counted) as i32 as usize, Relaxed);
            held.counted = count;
        }
    }

    /// Frees the pipe and what is held.
    pub fn release(&mut self, context: &mut Context) {
        self.blocked = false;
        if let Some(pipe) = self.drop_held(context) {
            context.pipes.discard(pipe);
        }
    }

    /// Holds nothing from now on. @return: the pipe.
    fn drop_held(&mut self, context: &Context) -> Option<Pipe> {
        let held = self.held.take()?;
        context.held.fetch_sub(held.counted as usize, Relaxed);
        held.pipe
    }
}

/// Sends until all is sent or there is no room. @param rest: becomes what was not sent.
fn send_all(target: BorrowedFd, rest: &mut &[u8]) -> sys::Result<()> {
    while !rest.is_empty() {
        match sys::send(target, rest)? {
            0 => return Err(EIO), // never for a socket: do not spin
            sent => *rest = &rest[sent..],
        }
    }
    Ok(())
}
