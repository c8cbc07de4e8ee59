//! System calls on borrowed descriptors. The only module with `unsafe`: each block is one call of libc.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub use libc::{EAGAIN, ECONNRESET, EINVAL, EIO, ENOMEM, ENOSYS, EPERM};

/// An error number of errno(3).
pub type Errno = i32;
pub type Result<T> = std::result::Result<T, Errno>;

pub const IN: u32 = libc::EPOLLIN as u32;
pub const OUT: u32 = libc::EPOLLOUT as u32;
/// The connection is broken, or both of its directions have ended.
pub const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
pub const ENDS: u32 = BROKEN | libc::EPOLLRDHUP as u32;
/// All events of a socket.
pub const ALL: u32 = IN | OUT | ENDS;

fn errno() -> Errno {
    io::Error::last_os_error().raw_os_error().unwrap_or(EIO)
}

fn counted(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| errno())
}

fn checked(result: i32) -> Result<i32> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Takes ownership of a descriptor, which must not be negative.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller of the engine hands over its descriptors and does not close them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Borrows a descriptor, which must be open for `'a` and not negative.
pub fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: as for `adopt`; the engine borrows the descriptor in the call that hands it over.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Never blocks. 0: the peer ended its side.
pub fn recv(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    fault::check("recv")?;
    // SAFETY: the kernel writes at most `buffer.len()` bytes into the buffer.
    counted(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })
}

/// Never blocks, and raises no SIGPIPE.
pub fn send(fd: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    fault::check("send")?;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads at most `bytes.len()` bytes.
    counted(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Moves bytes between a pipe and a non-blocking socket.
pub fn splice(from: BorrowedFd, to: BorrowedFd, count: usize) -> Result<usize> {
    fault::check("splice")?;
    let (from, to, flags) = (from.as_raw_fd(), to.as_raw_fd(), libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK);
    // SAFETY: the null pointers are allowed offsets; no memory is passed.
    counted(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), count, flags) })
}

/// Reads a pipe that is not empty.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    fault::check("read")?;
    // SAFETY: the kernel writes at most `buffer.len()` bytes into the buffer.
    counted(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// A pipe's ends: to read, to write.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    fault::check("pipe2")?;
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes two numbers.
    checked(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    Ok((adopt(ends[0]), adopt(ends[1])))
}

/// Sets and returns the capacity of a pipe in bytes. EPERM: the user's limit of pipe memory is reached.
pub fn resize_pipe(fd: BorrowedFd, bytes: usize) -> Result<usize> {
    fault::check("fcntl")?;
    // SAFETY: no memory is passed.
    checked(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes as libc::c_int) }).map(|size| size as usize)
}

/// Sends the end of our side. An error means that the connection is broken; its reader finds that out.
pub fn end_writing(fd: BorrowedFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

pub fn set_option<T>(fd: BorrowedFd, level: i32, option: i32, value: &T) {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes of the value. An error means that the connection has ended.
    unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, ptr::from_ref(value).cast(), size) };
}

pub fn option<T: Copy + Default>(fd: BorrowedFd, level: i32, option: i32) -> Result<T> {
    let mut value = T::default();
    let mut size = size_of::<T>() as libc::socklen_t;
    let fd = fd.as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes; callers ask for integers and arrays of them.
    checked(unsafe { libc::getsockopt(fd, level, option, ptr::from_mut(&mut value).cast(), &raw mut size) })?;
    Ok(value)
}

/// Makes the close send a reset, which drops unsent bytes.
pub fn reset_on_close(fd: BorrowedFd) {
    let abort = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &abort);
}

/// Waits for one descriptor. @param timeout: milliseconds; -1: none.
pub fn poll(entry: &mut libc::pollfd, timeout: i32) {
    // SAFETY: one entry is passed and counted.
    unsafe { libc::poll(ptr::from_mut(entry), 1, timeout) };
}

/// Whether a connection was reset or has timed out, without reading it.
pub fn is_over(fd: BorrowedFd) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    poll(&mut entry, 0);
    entry.revents & libc::POLLERR != 0
}

/// Why a connection is over: its pending error, or a reset.
pub fn pending_error(fd: BorrowedFd) -> Errno {
    match option::<i32>(fd, libc::SOL_SOCKET, libc::SO_ERROR) {
        Ok(0) => ECONNRESET,
        Ok(error) | Err(error) => error,
    }
}

/// Retransmissions and window probes that the peer has left unanswered. None: not TCP, or the connection has ended.
pub fn unanswered(fd: BorrowedFd) -> Option<(u8, u8)> {
    let info: [u8; 8] = option(fd, libc::IPPROTO_TCP, libc::TCP_INFO).ok()?; // struct tcp_info of linux/tcp.h
    Some((info[2], info[3]))
}

/// Detects a silent peer after two minutes, where that is off. The numbers are those of `sniproxy/net/sockopts.py`.
pub fn keep_alive(fd: BorrowedFd) {
    if option::<i32>(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE) == Ok(0) {
        set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1);
        for (option, value) in [(libc::TCP_KEEPIDLE, 60), (libc::TCP_KEEPINTVL, 15), (libc::TCP_KEEPCNT, 4)] {
            set_option(fd, libc::IPPROTO_TCP, option, &value);
        }
    }
}

/// Milliseconds without an acknowledgement after which the kernel ends the connection. 0: none.
pub fn set_user_timeout(fd: BorrowedFd, milliseconds: u32) {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &milliseconds);
}

/// Milliseconds of a clock that never goes back, exact to some 4 ms.
pub fn now() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes a timespec; zeros are one, if it does not.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Changes the scheduling policy of this thread. @return: false: it has another one than `before`, or may not.
pub fn change_policy(before: i32, after: i32) -> bool {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameters. 0 is the calling thread.
    unsafe { libc::sched_getscheduler(0) == before && libc::sched_setscheduler(0, after, &raw const priority) == 0 }
}

/// Asks for another time slice of this thread, in nanoseconds: the shorter, the sooner it runs after a wake-up (EEVDF,
/// Linux 6.12). Nothing happens where that is not possible.
pub fn ask_for_slice(nanoseconds: u64) {
    let mut attributes = [0_u64; 6]; // struct sched_attr of linux/sched/types.h, in its first form
    let (size, at) = (size_of_val(&attributes), attributes.as_mut_ptr());
    // SAFETY: the kernel writes at most `size` bytes, and reads as many. 0 is the calling thread.
    unsafe {
        if libc::syscall(libc::SYS_sched_getattr, 0, at, size, 0) == 0 {
            *at.add(3) = nanoseconds;
            libc::syscall(libc::SYS_sched_setattr, 0, at, 0);
        }
    }
}

/// Runs a function with all signals blocked, which a thread that it starts inherits.
pub fn without_signals<T>(run: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets live during the calls, which cannot fail with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = run();
    // SAFETY: `before` was filled by the first call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

/// An event: what is ready, and the token of the socket.
pub type Event = libc::epoll_event;

pub const NO_EVENT: Event = Event { events: 0, u64: 0 };

/// An edge-triggered epoll set.
pub struct Epoll(OwnedFd);

impl Epoll {
    pub fn new() -> Result<Self> {
        fault::check("epoll_create1")?;
        // SAFETY: no memory is passed.
        checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(|fd| Self(adopt(fd)))
    }

    fn control(&self, operation: i32, fd: BorrowedFd, mut event: Event) -> Result<()> {
        // SAFETY: the event lives during the call.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) }).map(drop)
    }

    pub fn watch(&self, fd: BorrowedFd, events: u32, token: u64) -> Result<()> {
        fault::check("epoll_ctl")?;
        self.control(libc::EPOLL_CTL_ADD, fd, Event { events: events | libc::EPOLLET as u32, u64: token })
    }

    /// Closing a descriptor does the same, unless another process has it, too.
    pub fn unwatch(&self, fd: BorrowedFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, NO_EVENT); // it was not watched
    }

    /// @param timeout: milliseconds; -1: none. @return: the number of events; 0 after a signal, too.
    pub fn wait(&self, events: &mut [Event], timeout: i32) -> usize {
        let fd = self.0.as_raw_fd();
        // SAFETY: the kernel writes at most `events.len()` events.
        counted(unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), events.len() as i32, timeout) } as isize)
            .unwrap_or(0)
    }
}

/// Makes its descriptor readable at a time: a timeout of each epoll_wait would cost more.
pub struct Timer(OwnedFd);

impl Timer {
    pub fn new() -> Result<Self> {
        fault::check("timerfd_create")?;
        // SAFETY: no memory is passed.
        checked(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) })
            .map(|fd| Self(adopt(fd)))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// @param milliseconds: from now, at least 1. None: never.
    pub fn set(&self, milliseconds: Option<u64>) {
        let milliseconds = milliseconds.map_or(0, |count| count.max(1)); // 0 stops it
        let (tv_sec, tv_nsec) = ((milliseconds / 1000) as i64, (milliseconds % 1000 * 1_000_000) as i64);
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let time = libc::itimerspec { it_interval: once, it_value: libc::timespec { tv_sec, tv_nsec } };
        // SAFETY: the kernel reads the time; the null pointer means that the old time is not asked for.
        unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const time, ptr::null_mut()) };
    }
}

/// Wakes another thread: an eventfd.
pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> Result<Self> {
        fault::check("eventfd")?;
        // SAFETY: no memory is passed.
        checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(|fd| Self(adopt(fd)))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn ring(&self) {
        let one = 1_u64;
        // SAFETY: the kernel reads 8 bytes. It fails when the counter is at its maximum: the bell rings already.
        unsafe { libc::write(self.0.as_raw_fd(), ptr::from_ref(&one).cast(), 8) };
    }

    pub fn silence(&self) {
        let mut count = 0_u64;
        // SAFETY: the kernel writes 8 bytes. It fails when the bell does not ring.
        unsafe { libc::read(self.0.as_raw_fd(), ptr::from_mut(&mut count).cast(), 8) };
    }
}

#[cfg(not(test))]
mod fault {
    #[inline(always)]
    pub fn check(_call: &'static str) -> super::Result<()> {
        Ok(())
    }
}

/// Makes calls fail in tests, in the thread that asks for it.
#[cfg(test)]
pub mod fault {
    use std::cell::RefCell;

    use super::{Errno, Result};

    struct Fault {
        call: &'static str,
        errno: Errno,
        skip: usize,
        times: usize,
    }

    thread_local!(static FAULTS: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) });

    /// The call panics.
    pub const PANIC: Errno = -1;

    /// After `skip` calls, `times` calls fail.
    pub fn inject(call: &'static str, errno: Errno, skip: usize, times: usize) {
        FAULTS.with_borrow_mut(|faults| faults.push(Fault { call, errno, skip, times }));
    }

    pub fn clear() {
        FAULTS.with_borrow_mut(Vec::clear);
    }

    pub fn check(call: &'static str) -> Result<()> {
        FAULTS.with_borrow_mut(|faults| {
            for fault in faults.iter_mut().filter(|fault| fault.call == call && fault.times > 0) {
                if fault.skip > 0 {
                    fault.skip -= 1;
                } else {
                    fault.times -= 1;
                    assert_ne!(fault.errno, PANIC, "injected");
                    return Err(fault.errno);
                }
            }
            Ok(())
        })
    }
}
