//! The native relay of sniproxy. See `sniproxy/relay/_engine.pyi` for what Python sees.
