//! Relay threads, and the hand-over to and from them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::sys::fault;
use crate::testing::*;

const SILENCE: Silence = Silence { user_timeout: 120_000, probes: 4 };

fn open(engine: &Engine, key: u32, held: &[u8]) -> (TcpStream, TcpStream, Handle) {
    let ((client, ours_client), (target, ours_target)) = (pair(), pair());
    let handle = engine.add(key, ours_client.into_raw_fd(), ours_target.into_raw_fd(), held, NO_DEADLINES).unwrap();
    (client, target, handle)
}

/// Waits by the bell for a number of endings.
fn endings(engine: &Engine, count: usize) -> Vec<Ending> {
    let (mut endings, until) = (Vec::new(), Instant::now() + Duration::from_secs(20));
    while endings.len() < count && Instant::now() < until {
        let mut entry = libc::pollfd { fd: engine.fd(), events: libc::POLLIN, revents: 0 };
        sys::poll(&mut entry, 1000);
        endings.extend(engine.endings());
    }
    assert_eq!(endings.len(), count);
    endings
}

#[test]
fn relays_in_its_threads_and_reports_the_end() {
    let _others = among_others();
    let engine = Engine::new(2, SILENCE).unwrap();
    let mut far: Vec<_> = (0..4).map(|key| open(&engine, key, b"held ")).collect();
    assert_eq!(engine.tunnels(), 4);
    for (inbox, _) in &engine.threads {
        assert_eq!(inbox.tunnels.load(Relaxed), 2);
    }
    for (client, target, handle) in &mut far {
        client.write_all(b"up").unwrap();
        assert_eq!(read_exactly(target, 7), b"held up");
        target.write_all(b"down").unwrap();
        assert_eq!(read_exactly(client, 4), b"down");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(target.read(&mut [0]).unwrap(), 0);
        assert_eq!(handle.shared.ended.load(Relaxed), 1);
    }
    let handles: Vec<_> = far.into_iter().map(|(_, _, handle)| handle).collect();
    for ending in endings(&engine, 4) {
        assert_eq!((ending.kind, ending.moved), (Kind::Ok, [7, 4]));
    }
    assert_eq!((engine.tunnels(), engine.held(), engine.endings().len()), (0, 0, 0));
    for handle in handles {
        handle.end(); // it has ended
        assert_eq!(handle.shared.moved[0].load(Relaxed), 7);
    }
}

#[test]
fn sends_held_bytes_in_the_callers_thread_as_far_as_there_is_room() {
    let _others = among_others();
    let engine = Engine::new(1, SILENCE).unwrap();
    let held = noise(4 << 20);
    let ((_client, ours_client), (mut target, ours_target)) = (pair(), small_pair());
    let handle = engine.add(1, ours_client.into_raw_fd(), ours_target.into_raw_fd(), &held, NO_DEADLINES).unwrap();
    assert!(handle.shared.moved[0].load(Relaxed) > 0);
    assert!(read_exactly(&mut target, held.len()) == held);
    handle.end();
    assert_eq!(endings(&engine, 1)[0].moved, [held.len() as u64, 0]);
}

#[test]
fn a_broken_target_is_reported_like_any_other() {
    let _others = among_others();
    let engine = Engine::new(1, SILENCE).unwrap();
    let ((_client, ours_client), (target, ours_target)) = (pair(), pair());
    reset(target);
    engine.add(1, ours_client.into_raw_fd(), ours_target.into_raw_fd(), b"held", NO_DEADLINES).unwrap();
    let ending = &endings(&engine, 1)[0];
    assert_eq!((ending.kind, ending.side, ending.moved), (Kind::Reset, 2, [0, 0]));
}

#[test]
fn each_tunnel_ends_once_whatever_is_asked_at_once() {
    let _others = among_others();
    let engine = Arc::new(Engine::new(2, SILENCE).unwrap());
    let askers: Vec<_> = (0..4)
        .map(|asker| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                for number in 0..25 {
                    let (mut client, target, handle) = open(&engine, asker * 25 + number, b"x");
                    client.write_all(b"y").unwrap();
                    match number % 4 {
                        0 => handle.end(),
                        1 => handle.give_back(),
                        2 => reset(client),
                        _ => drop(target),
                    }
                    handle.give_back();
                    handle.end();
                }
            })
        })
        .collect();
    let mut kinds = HashMap::new();
    for ending in endings(&engine, 100) {
        assert!(kinds.insert(ending.key, ending.kind).is_none());
        let returned = ending.sides.iter().flatten().count();
        assert!(if ending.kind == Kind::Ok { returned == 0 } else { returned == 2 || ending.kind == Kind::Reset });
    }
    for asker in askers {
        asker.join().unwrap();
    }
    assert_eq!((engine.tunnels(), engine.held()), (0, 0));
}

#[test]
fn the_clock_of_tests_ends_what_is_due_before_it_returns() {
    let _others = among_others();
    let engine = Engine::new(1, SILENCE).unwrap();
    let ((_client, ours_client), (_target, ours_target)) = (pair(), pair());
    let deadlines = Deadlines { idle: 10_000, half_closed: 10_000 };
    engine.add(1, ours_client.into_raw_fd(), ours_target.into_raw_fd(), b"", deadlines).unwrap();
    engine.advance(9_000);
    assert_eq!(engine.endings().len(), 0);
    engine.advance(1_001);
    assert_eq!(engine.endings()[0].kind, Kind::Idle);
}

#[test]
fn closing_closes_everything() {
    let _alone = alone();
    let before = open_descriptors();
    let engine = Engine::new(2, SILENCE).unwrap();
    let mut far: Vec<_> = (0..10).map(|key| open(&engine, key, b"x")).collect();
    far[0].2.end();
    far[1].2.give_back();
    engine.advance(0); // both have ended, and nobody fetches that
    drop(engine);
    for (client, _, handle) in &mut far {
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        handle.end();
        handle.give_back();
    }
    let handles: Vec<_> = far.into_iter().map(|(_, _, handle)| handle).collect();
    assert_eq!(open_descriptors(), before);
    drop(handles);
}

#[test]
fn an_engine_without_a_descriptor_is_none() {
    let _alone = alone();
    let before = open_descriptors();
    for (call, calls) in [("eventfd", 3), ("epoll_create1", 2), ("epoll_ctl", 4), ("timerfd_create", 2)] {
        for skip in 0..calls {
            fault::clear();
            fault::inject(call, libc::EMFILE, skip, 1);
            assert_eq!(Engine::new(2, SILENCE).err(), Some(libc::EMFILE), "{call} {skip}");
        }
    }
    fault::clear();
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_thread_that_fails_returns_its_tunnels() {
    let _others = among_others();
    fault::clear();
    let endings = Arc::new(Mailbox::new().unwrap());
    let relay = Relay::new(Arc::clone(&endings), SILENCE, Arc::default(), Arc::default()).unwrap();
    let inbox = relay.inbox();
    let mut far = Vec::new();
    for _ in 0..3 {
        let ((client, ours_client), (target, ours_target)) = (pair(), pair());
        let (tunnel, _) = tunnel(ours_client, ours_target, b"", NO_DEADLINES);
        inbox.tunnels.fetch_add(1, Relaxed);
        assert!(inbox.commands.put(Command::Add(tunnel)).is_ok());
        far.push((client, target));
    }
    far[0].0.write_all(b"x").unwrap();
    fault::inject("recv", fault::PANIC, 0, 1);
    run(relay); // in this thread
    let ended = endings.take();
    assert_eq!(ended.len(), 3);
    for ending in ended {
        assert_eq!((ending.kind, ending.errno), (Kind::Unwatched, EIO));
        assert!(ending.sides.iter().all(Option::is_some));
    }
    assert_eq!((inbox.tunnels.load(Relaxed), inbox.commands.fd()), (0, None));
}

#[test]
fn nothing_is_added_when_no_thread_runs() {
    let _others = among_others();
    let engine = Engine::new(1, SILENCE).unwrap();
    let commands = &engine.threads[0].0.commands;
    assert!(commands.put(Command::Stop).is_ok());
    while commands.fd().is_some() {
        thread::yield_now();
    }
    let ((_client, ours_client), (_target, ours_target)) = (pair(), pair());
    let error = engine.add(1, ours_client.as_raw_fd(), ours_target.as_raw_fd(), b"", NO_DEADLINES).err();
    assert_eq!(error, Some(libc::ESHUTDOWN));
    assert!(is_open(&ours_client) && is_open(&ours_target));
}

#[test]
fn the_threads_block_all_signals() {
    let _others = among_others();
    let engine = Engine::new(1, SILENCE).unwrap();
    engine.advance(0); // the thread has its name
    let mut masks = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        if status.starts_with("Name:\trelay-") {
            let line = status.lines().find(|line| line.starts_with("SigBlk")).unwrap();
            masks.push(u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap());
        }
    }
    let (term, usr1) = (1 << (libc::SIGTERM - 1), 1 << (libc::SIGUSR1 - 1));
    assert!(!masks.is_empty() && masks.iter().all(|mask| mask & term != 0 && mask & usr1 != 0), "{masks:x?}");
}

#[test]
fn converts_seconds() {
    let cases = [(0.0, 0), (1.5, 1500), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 1 << 48)];
    for (seconds, expected) in cases {
        assert_eq!(milliseconds(seconds), expected, "{seconds}");
    }
}
