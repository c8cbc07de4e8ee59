//! The pipes of one relay thread. A direction holds one only while bytes are in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::sys;

/// Capacity of a new pipe. Through a smaller one, splicing is slower than copying.
pub const PIPE_BYTES: usize = 256 << 10;
/// Capacity of a pipe that was full once.
pub const LARGE_PIPE_BYTES: usize = 1 << 20;
/// Empty pipes kept for reuse.
pub const MAX_SPARE: usize = 16;
/// Milliseconds without a new attempt after the system refused a pipe, or a larger one.
const RETRY_MS: u64 = 10_000;

pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Capacity in bytes.
    pub size: u32,
}

impl Pipe {
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

pub struct Pipes {
    spare: Vec<Pipe>,
    /// The fewest spare pipes since the last `close_unused`.
    unused: usize,
    open: Arc<AtomicUsize>,
    refused: Option<u64>,
    no_larger: Option<u64>,
}

impl Pipes {
    /// @param open: counts the open pipes, of other threads, too.
    pub fn new(open: Arc<AtomicUsize>) -> Self {
        Self { spare: Vec::new(), unused: 0, open, refused: None, no_larger: None }
    }

    /// An empty pipe. None: the system has none, or only a small one. The bytes are copied then.
    pub fn take(&mut self, now: u64) -> Option<Pipe> {
        if let Some(pipe) = self.spare.pop() {
            self.unused = self.unused.min(self.spare.len());
            return Some(pipe);
        }
        if self.refused.is_some_and(|at| now < at + RETRY_MS) {
            return None;
        }
        let pipe = sys::pipe().and_then(|(reader, writer)| {
            let size = sys::resize_pipe(writer.as_fd(), PIPE_BYTES)?;
            Ok(Pipe { reader, writer, size: size as u32 })
        });
        self.refused = if pipe.is_ok() { None } else { Some(now) };
        self.open.fetch_add(usize::from(pipe.is_ok()), Relaxed);
        pipe.ok()
    }

    /// Makes a pipe larger, if the system allows it.
    pub fn enlarge(&mut self, pipe: &mut Pipe, now: u64) {
        if pipe.size as usize >= LARGE_PIPE_BYTES || self.no_larger.is_some_and(|at| now < at + RETRY_MS) {
            return;
        }
        match sys::resize_pipe(pipe.writer(), LARGE_PIPE_BYTES) {
            Ok(size) => pipe.size = size as u32,
            Err(_) => self.no_larger = Some(now),
        }
    }

    /// Keeps an empty pipe for reuse.
    pub fn give(&mut self, pipe: Pipe) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(pipe);
        } else {
            self.discard(pipe);
        }
    }

    /// Closes a pipe, which may have bytes in it.
    pub fn discard(&mut self, pipe: Pipe) {
        drop(pipe);
        self.open.fetch_sub(1, Relaxed);
    }

    /// Closes the spare pipes that were not needed since the last call.
    pub fn close_unused(&mut self) {
        for pipe in self.spare.drain(..self.unused).collect::<Vec<_>>() {
            self.discard(pipe);
        }
        self.unused = self.spare.len();
    }

    pub fn close_spare(&mut self) {
        self.unused = self.spare.len();
        self.close_unused();
    }

    pub fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }
}
