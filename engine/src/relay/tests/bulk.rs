//! Bulk through pipes, and fairness.

use super::*;

#[test]
fn bulk_is_spliced_through_pipes_that_return() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    let bytes = noise(16 * MEBI);
    let sending = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            client.write_all(&bytes).unwrap();
            client
        }
    });
    let mut got = Vec::new();
    target.set_nonblocking(true).unwrap();
    while got.len() < bytes.len() {
        let mut part = vec![0; MEBI];
        if let Ok(count) = target.read(&mut part) {
            got.extend_from_slice(&part[..count]);
        }
        rig.until_ready();
    }
    assert!(got == bytes);
    assert_eq!((rig.pipes.load(Relaxed), rig.held.load(Relaxed)), (1, 0));
    let far = sending.join().unwrap();
    let pipe = rig.relay.context.pipes.take(rig.now).unwrap();
    assert_eq!(pipe.size as usize, LARGE_PIPE_BYTES);
    rig.relay.context.pipes.give(pipe);
    rig.advance(CHECK_INTERVAL_MS); // it was needed since the start
    let pipe = rig.relay.context.pipes.take(rig.now).unwrap();
    rig.relay.context.pipes.give(pipe);
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!(rig.pipes.load(Relaxed), 1);
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!(rig.pipes.load(Relaxed), 0);
    let pipes: Vec<_> = (0..20).map(|_| rig.relay.context.pipes.take(rig.now).unwrap()).collect();
    pipes.into_iter().for_each(|pipe| rig.relay.context.pipes.give(pipe));
    assert_eq!(rig.pipes.load(Relaxed), MAX_SPARE);
    drop(far);
}

/// Sends bulk through a relay in which a system call fails, and expects that nobody notices.
fn bulk_despite(call: &'static str, errno: Errno, times: usize) {
    for skip in [0, 1, 2, 3, 10] {
        let mut rig = Rig::new();
        let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        fault::inject(call, errno, skip, times);
        let bytes = noise(4 * MEBI);
        let sending = std::thread::spawn({
            let bytes = bytes.clone();
            move || {
                client.write_all(&bytes).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                client
            }
        });
        assert!(rig.read_to_end(&mut target) == bytes, "{call} {errno} {skip}");
        drop((target, sending.join().unwrap()));
        assert_eq!(rig.ending().kind, Kind::Ok);
    }
}

#[test]
fn copies_where_splicing_does_not_work() {
    for errno in [libc::EMFILE, libc::ENFILE, sys::ENOMEM] {
        bulk_despite("pipe2", errno, usize::MAX);
    }
    bulk_despite("fcntl", sys::EPERM, usize::MAX);
    for errno in [sys::EINVAL, sys::ENOMEM] {
        bulk_despite("splice", errno, 1);
        bulk_despite("splice", errno, usize::MAX);
    }
}

#[test]
fn a_refused_pipe_is_not_asked_for_again_at_once() {
    let mut rig = Rig::new();
    fault::inject("pipe2", libc::EMFILE, 0, 1);
    assert!(rig.relay.context.pipes.take(5).is_none());
    assert!(rig.relay.context.pipes.take(6).is_none());
    let pipe = rig.relay.context.pipes.take(10_005).expect("asked again");
    rig.relay.context.pipes.discard(pipe);
    fault::inject("fcntl", sys::EPERM, 0, 1); // a small pipe is closed
    assert!(rig.relay.context.pipes.take(30_000).is_none());
    assert_eq!(rig.pipes.load(Relaxed), 0);
}

#[test]
fn a_busy_direction_lets_others_have_their_turn() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open(b"", NO_DEADLINES);
    let sending = std::thread::spawn(move || {
        for _ in 0..64 {
            client.write_all(&vec![0; MEBI]).unwrap();
        }
        client
    });
    let reading = std::thread::spawn(move || {
        read_exactly(&mut target, 64 * MEBI);
        target
    });
    let mut before = 0;
    while before < 64 * MEBI as u64 {
        rig.until_ready();
        let after = moved(&shared).0;
        assert!(after - before < MAX_TURN_BYTES + LARGE_PIPE_BYTES as u64);
        before = after;
    }
    drop((sending.join().unwrap(), reading.join().unwrap()));
}

#[test]
fn a_direction_that_has_not_drained_its_socket_goes_on_in_the_next_turn() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    let sent = send_some(&mut client, &noise(100_000));
    client.shutdown(Shutdown::Write).unwrap();
    rig.relay.context.buffer = vec![0; 1000].into(); // each read fills it
    fault::inject("splice", sys::EINVAL, 0, usize::MAX);
    rig.until(|rig| rig.relay.context.again.len() == 1);
    assert_eq!(moved(&shared).0, 1000 * ROUNDS as u64);
    rig.relay.turn(0, rig.now);
    assert_eq!((moved(&shared).0, rig.relay.context.again.len()), (2000 * ROUNDS as u64, 1));
    assert!(rig.read_to_end(&mut target) == noise(100_000)[..sent]);
    assert!(rig.relay.context.again.is_empty());
}
