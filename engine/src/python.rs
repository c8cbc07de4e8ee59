//! The module as Python sees it: converts values, and nothing else.

use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{PoisonError, RwLock};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::engine::{self, Handle, milliseconds};
use crate::handover::{Ending, Silence};
use crate::sys::Errno;
use crate::tunnel::{CLIENT, Deadlines, State, TARGET};

fn os_error(errno: Errno) -> PyErr {
    PyOSError::new_err((errno, engine::message(errno)))
}

type PyState = (PyBackedBytes, PyBackedBytes, u8, u8, u64, u64, PyBackedBytes, f64);

/// An ending has more values than a tuple of PyO3 can have, so those of a tunnel that was given back come last, in one.
type PyEnding = (u32, u8, Errno, u8, u64, u64, RawFd, RawFd, Vec<u8>, (Vec<u8>, Vec<u8>, u8, f64));

fn tuple(ending: Ending) -> PyEnding {
    let [up, down] = ending.moved;
    let [client, target] = ending.sides.map(|fd| fd.map_or(-1, IntoRawFd::into_raw_fd));
    let [held_up, held_down] = ending.held;
    let Ending { key, kind, errno, side, answer, first, quiet, .. } = ending;
    let state = (held_up, held_down, first, quiet as f64 / 1000.0);
    (key, kind as u8, errno, side, up, down, client, target, answer, state)
}

/// @return: an error if a descriptor is negative.
fn check(client: RawFd, target: RawFd) -> PyResult<()> {
    if client < 0 || target < 0 { Err(PyValueError::new_err("a descriptor is negative")) } else { Ok(()) }
}

#[pyclass(frozen)]
struct Engine(RwLock<Option<engine::Engine>>);

impl Engine {
    /// @return: the default, if the engine is closed.
    fn read<T>(&self, default: T, ask: impl FnOnce(&engine::Engine) -> T) -> T {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(default, ask)
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new(threads: usize, user_timeout_ms: u32, probes: u8) -> PyResult<Self> {
        let silence = Silence { user_timeout: user_timeout_ms, probes };
        engine::Engine::new(threads, silence).map(|engine| Self(RwLock::new(Some(engine)))).map_err(os_error)
    }

    fn fileno(&self) -> RawFd {
        self.read(-1, engine::Engine::fd)
    }

    fn add(
        &self,
        key: u32,
        client: RawFd,
        target: RawFd,
        held: &[u8],
        idle: f64,
        half_closed: f64,
    ) -> PyResult<Tunnel> {
        check(client, target)?;
        let deadlines = Deadlines { idle: milliseconds(idle), half_closed: milliseconds(half_closed) };
        self.read(Err(libc::ESHUTDOWN), |engine| engine.add(key, client, target, held, deadlines))
            .map(Tunnel)
            .map_err(os_error)
    }

    fn resume(
        &self,
        key: u32,
        client: RawFd,
        target: RawFd,
        state: PyState,
        idle: f64,
        half_closed: f64,
    ) -> PyResult<Tunnel> {
        check(client, target)?;
        let (held_up, held_down, ended, first, up, down, answer, quiet) = state;
        let state = State {
            held: [held_up.to_vec(), held_down.to_vec()],
            ended,
            first,
            moved: [up, down],
            answer: answer.to_vec(),
            quiet: milliseconds(quiet),
        };
        let deadlines = Deadlines { idle: milliseconds(idle), half_closed: milliseconds(half_closed) };
        self.read(Err(libc::ESHUTDOWN), |engine| engine.resume(key, client, target, state, deadlines))
            .map(Tunnel)
            .map_err(os_error)
    }

    fn endings(&self) -> Vec<PyEnding> {
        self.read(Vec::new(), engine::Engine::endings).into_iter().map(tuple).collect()
    }

    #[getter]
    fn held(&self) -> usize {
        self.read(0, engine::Engine::held)
    }

    #[getter]
    fn pipes(&self) -> usize {
        self.read(0, engine::Engine::pipes)
    }

    #[getter]
    fn tunnels(&self) -> usize {
        self.read(0, engine::Engine::tunnels)
    }

    fn advance(&self, py: Python<'_>, seconds: f64) {
        py.detach(|| self.read((), |engine| engine.advance(milliseconds(seconds))));
    }

    fn close(&self, py: Python<'_>) {
        let engine = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(engine));
    }
}

#[pyclass(frozen)]
struct Tunnel(Handle);

#[pymethods]
impl Tunnel {
    #[getter]
    fn bytes_up(&self) -> u64 {
        self.0.shared.moved[CLIENT].load(Relaxed)
    }

    #[getter]
    fn bytes_down(&self) -> u64 {
        self.0.shared.moved[TARGET].load(Relaxed)
    }

    #[getter]
    fn half_closed(&self) -> bool {
        self.0.shared.ended.load(Relaxed) != 0
    }

    #[getter]
    fn blocked(&self) -> u8 {
        self.0.shared.blocked.load(Relaxed)
    }

    fn end(&self) {
        self.0.end();
    }

    fn give_back(&self) {
        self.0.give_back();
    }
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    use crate::handover::Kind::{Ended, GivenBack, Idle, Ok as Done, Reset, Unwatched};
    for (name, kind) in [
        ("OK", Done),
        ("RESET", Reset),
        ("IDLE", Idle),
        ("ENDED", Ended),
        ("GIVEN_BACK", GivenBack),
        ("UNWATCHED", Unwatched),
    ] {
        module.add(name, kind as u8)?;
    }
    module.add_class::<Engine>()?;
    module.add_class::<Tunnel>()
}
