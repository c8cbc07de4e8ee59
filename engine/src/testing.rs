//! Helpers of the tests: connected sockets, and a relay that the test drives.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::sys;
use crate::tunnel::{Deadlines, Shared, State, Tunnel};

/// Tests that count descriptors of the process run alone.
static DESCRIPTORS: RwLock<()> = RwLock::new(());

/// For a test that opens descriptors.
pub fn among_others() -> RwLockReadGuard<'static, ()> {
    DESCRIPTORS.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that counts descriptors.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    DESCRIPTORS.write().unwrap_or_else(PoisonError::into_inner)
}

pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The far end and our end of a connection.
pub fn pair() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for socket in [&far, &ours] {
        socket.set_nodelay(true).unwrap();
    }
    (far, ours.into())
}

/// A pair with small kernel buffers.
pub fn small_pair() -> (TcpStream, OwnedFd) {
    let (far, ours) = pair();
    for fd in [far.as_fd(), ours.as_fd()] {
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &65536);
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &65536);
    }
    (far, ours)
}

/// Closes with a reset.
pub fn reset(far: TcpStream) {
    sys::reset_on_close(far.as_fd());
}

pub fn read_exactly(far: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    far.read_exact(&mut bytes).unwrap();
    bytes
}

/// Bytes that a mistake in their order or number changes.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Sends what the kernel takes now. @return: how much that was.
pub fn send_some(far: &mut TcpStream, bytes: &[u8]) -> usize {
    far.set_nonblocking(true).unwrap();
    let sent = far.write(bytes).unwrap_or(0);
    far.set_nonblocking(false).unwrap();
    sent
}

pub const NO_DEADLINES: Deadlines = Deadlines { idle: 0, half_closed: 1 << 40 };

pub fn tunnel(client: OwnedFd, target: OwnedFd, head: &[u8], deadlines: Deadlines) -> (Tunnel, Arc<Shared>) {
    let state = State { held: [head.to_vec(), Vec::new()], ..State::default() };
    let tunnel = Tunnel::new(7, [client, target], state, deadlines);
    let shared = tunnel.shared.clone();
    (tunnel, shared)
}

/// Whether a descriptor is open.
pub fn is_open(fd: &impl AsRawFd) -> bool {
    std::fs::symlink_metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).is_ok()
}
