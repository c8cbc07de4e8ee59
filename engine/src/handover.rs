//! What crosses between a relay thread and its owner.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;

use crate::mailbox::Mailbox;
use crate::sys::Errno;
use crate::tunnel::{Shared, Tunnel};

/// How a tunnel ended. The numbers are those of `_engine.pyi`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub enum Kind {
    Ok = 0,
    Reset = 1,
    Idle = 2,
    Ended = 3,
    GivenBack = 4,
    Unwatched = 5,
}

/// The end of a tunnel, as described in `_engine.pyi`.
pub struct Ending {
    pub key: u32,
    pub kind: Kind,
    pub errno: Errno,
    pub side: u8,
    pub moved: [u64; 2],
    /// The descriptors that are returned.
    pub sides: [Option<OwnedFd>; 2],
    pub held: [Vec<u8>; 2],
    /// The first and the seventh byte from the target. Empty: none came.
    pub answer: Vec<u8>,
    /// The side that ended first: 0: none, 1: the client, 2: the target.
    pub first: u8,
    /// Milliseconds since the last byte crossed, or one side ended.
    pub quiet: u64,
}

pub enum Command {
    Add(Tunnel),
    End(Arc<Shared>),
    GiveBack(Arc<Shared>),
    /// Moves the clock forward by milliseconds, and drops the sender when what is then due was done.
    Advance(u64, Sender<()>),
    Stop,
}

/// What the owner of a relay thread keeps of it.
pub struct Inbox {
    pub commands: Mailbox<Command>,
    /// Tunnels that were added and have not ended.
    pub tunnels: AtomicUsize,
}

/// When TCP_USER_TIMEOUT is set on a silent socket.
#[derive(Clone, Copy)]
pub struct Silence {
    pub user_timeout: u32,
    pub probes: u8,
}
