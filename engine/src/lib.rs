//! The native relay of sniproxy. `sniproxy/relay/_engine.pyi` describes what Python sees.

mod direction;
pub mod engine;
mod mailbox;
mod pipes;
#[cfg(feature = "python")]
mod python;
pub mod relay;
mod slab;
mod sys;
#[cfg(test)]
mod testing;
pub mod tunnel;
