//! One direction of a tunnel: reads from one side, writes to the other.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::pipes::{Pipe, Pipes};
use crate::sys::{self, EAGAIN, EINVAL, EIO, ENOMEM, ENOSYS, EPERM, Errno};

/// Bytes of one read, and so what a direction holds in memory besides its first bytes.
pub const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of one read from which on the next one is spliced.
pub const BULK_BYTES: usize = 16 << 10;

/// What the tunnels of a thread share.
pub struct Context {
    pub buffer: Box<[u8]>,
    pub pipes: Pipes,
    /// Bytes that blocked directions hold, of other threads, too.
    pub held: Arc<AtomicUsize>,
    /// Milliseconds, of the current turn.
    pub now: u64,
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

#[derive(Default)]
pub struct Direction {
    /// Bytes written to the destination.
    pub moved: u64,
    /// Bytes to write before all others, from `at` on.
    head: Vec<u8>,
    at: u32,
    /// Bytes in the pipe.
    inside: u32,
    pipe: Option<Pipe>,
    /// Bytes of this direction in `Context::held`.
    counted: u32,
    /// The source's end was passed on behind all bytes.
    pub ended: bool,
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
    /// @param head: written first.
    pub fn new(moved: u64, head: Vec<u8>) -> Self {
        Self { moved, head, dry: true, ..Self::default() }
    }

    pub fn holds(&self) -> usize {
        self.head.len() - self.at as usize + self.inside as usize
    }

    /// Reads once, if nothing is held, and writes until all is written or there is no room.
    #[inline]
    pub fn step(&mut self, source: BorrowedFd, target: BorrowedFd, context: &mut Context) -> Step {
        let result = if self.holds() > 0 {
            self.flush(target, context)
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
        self.bulky = count >= BULK_BYTES;
        self.dry = count < context.buffer.len();
        let mut rest = &context.buffer[..count];
        let result = send_all(target, &mut rest);
        self.moved += (count - rest.len()) as u64;
        if result.is_ok() {
            return Step::Moved;
        }
        self.head = rest.to_vec();
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
                self.inside = count as u32;
                self.pipe = Some(pipe);
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
        if !self.head.is_empty() {
            let mut rest = &self.head[self.at as usize..];
            let before = rest.len();
            let result = send_all(target, &mut rest);
            let sent = before - rest.len();
            self.moved += sent as u64;
            self.at += sent as u32;
            result?;
            self.head = Vec::new();
            self.at = 0;
        }
        while let Some(pipe) = self.pipe.take_if(|_| self.inside > 0) {
            match sys::splice(pipe.reader(), target, self.inside as usize) {
                Ok(count) if count > 0 => {
                    self.moved += count as u64;
                    self.inside -= count as u32;
                    if self.inside == 0 {
                        context.pipes.give(pipe);
                    } else {
                        self.pipe = Some(pipe);
                    }
                }
                result => {
                    self.pipe = Some(pipe);
                    let error = result.err().unwrap_or(EIO);
                    if !matches!(error, EINVAL | ENOMEM | ENOSYS | EPERM) {
                        return Err(error);
                    }
                    self.copies = true;
                    self.empty_pipe(context)?;
                    return self.flush(target, context);
                }
            }
        }
        Ok(())
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

    /// Takes the bytes that were read and not written.
    pub fn take_held(&mut self, context: &mut Context) -> sys::Result<Vec<u8>> {
        self.empty_pipe(context)?;
        let mut held = std::mem::take(&mut self.head);
        held.drain(..std::mem::take(&mut self.at) as usize);
        Ok(held)
    }

    /// Marks the destination as full or not, and counts what is held for it.
    pub fn block(&mut self, blocked: bool, context: &Context) {
        self.blocked = blocked;
        let count = if blocked { self.holds() as u32 } else { 0 };
        context.held.fetch_add(count.wrapping_sub(self.counted) as i32 as usize, Relaxed);
        self.counted = count;
    }

    /// Frees the pipe and what is held.
    pub fn release(&mut self, context: &mut Context) {
        self.block(false, context);
        self.head = Vec::new();
        self.at = 0;
        self.inside = 0;
        if let Some(pipe) = self.pipe.take() {
            context.pipes.discard(pipe);
        }
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
