//! The native relay of sniproxy. `sniproxy/relay/_engine.pyi` describes what Python sees.
//!
//! `engine` starts the relay threads and hands tunnels to them; `relay` is one thread, with an epoll set and its tunnels;
//! `tunnel` is one tunnel, with two of `direction`, which move bytes, in bulk through `pipes`; `wakeups` is how a thread
//! is scheduled. `mailbox` is the only thing that threads share, besides counters. All system calls are in `sys`, and
//! only that has `unsafe`.
//!
//! A message costs an epoll_wait, a recv and a send. The threads never take the GIL. A thread that panics returns its
//! tunnels, and takes no new ones.

mod direction;
pub mod engine;
mod handover;
mod mailbox;
mod pipes;
#[cfg(feature = "python")]
mod python;
mod relay;
mod slab;
mod sys;
#[cfg(test)]
mod testing;
mod tunnel;
mod wakeups;
