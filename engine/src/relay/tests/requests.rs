//! What the owner asks of a tunnel.

use super::*;

#[test]
fn ends_on_request_behind_what_has_room() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    let bytes = noise(8 * MEBI);
    rig.fill(&mut client, &bytes);
    let before = moved(&shared).0 as usize;
    let mut got = read_exactly(&mut target, before); // without a turn of the relay
    rig.put(Command::End(Arc::clone(&shared)));
    let ending = rig.ending();
    assert_eq!((ending.kind, shared.blocked.load(Relaxed)), (Kind::Ended, 0));
    let after = ending.moved[CLIENT] as usize;
    assert!(after > before);
    drop(ending);
    let mut rest = Vec::new();
    let _ = target.read_to_end(&mut rest); // then the reset, for unread bytes were in our sockets
    got.extend(rest);
    assert!(got[..before] == bytes[..before] && got.len() <= after);
    rig.relay.tunnels = Slab::new(0); // as after 65,536 tunnels in the same place
    let _other = rig.open(b"", NO_DEADLINES);
    rig.put(Command::End(shared)); // it has ended
    assert_eq!(rig.endings.take().len(), 0);
}

#[test]
fn gives_back_the_sockets_and_all_bytes() {
    for call in ["none", "splice"] {
        let mut rig = Rig::new();
        fault::inject(call, sys::EINVAL, 0, usize::MAX);
        let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
        let bytes = noise(8 * MEBI);
        let mut sent = rig.fill(&mut client, &bytes);
        target.write_all(b"down").unwrap();
        target.shutdown(Shutdown::Write).unwrap();
        rig.settle();
        let token = rig.relay.tunnels.iter(0..9).next().unwrap().0;
        rig.relay.tunnels.get(token).unwrap().flags |= TIMED;
        let client_fd = rig.relay.tunnels.get(token).unwrap().sides[CLIENT].as_fd();
        sys::set_user_timeout(client_fd, 120_000); // its client is silent
        rig.put(Command::GiveBack(Arc::clone(&shared)));
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::GivenBack, 2));
        let [Some(ours_client), Some(ours_target)] = ending.sides else { panic!("closed") };
        assert_eq!(ending.moved[TARGET], 4);
        assert_eq!(user_timeout(&ours_client), 0);
        // The rest crosses without the relay.
        let mut got = read_exactly(&mut target, ending.moved[CLIENT] as usize);
        got.extend(&ending.held[CLIENT]);
        assert!(ending.held[TARGET].is_empty() && !ending.held[CLIENT].is_empty());
        let mut part = vec![0; 65536];
        while got.len() < sent {
            match sys::recv(ours_client.as_fd(), &mut part) {
                Ok(count) => got.extend(&part[..count]),
                Err(_) => sent += send_some(&mut client, &bytes[sent..sent + 1]),
            }
        }
        assert!(got == bytes[..sent]);
        assert!(is_open(&ours_target));
        rig.settle(); // no event of theirs arrives any more
        client.write_all(b"x").unwrap();
        assert_eq!(rig.relay.epoll.wait(&mut rig.relay.events[..], 10), 0);
    }
}

#[test]
fn a_tunnel_that_lost_bytes_is_not_given_back() {
    let mut rig = Rig::new();
    let (mut client, _target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    rig.fill(&mut client, &noise(8 * MEBI));
    assert!(rig.pipes.load(Relaxed) > 0);
    fault::inject("read", sys::EIO, 0, 1);
    rig.put(Command::GiveBack(shared));
    let ending = rig.ending();
    // What is held may be in memory: then nothing is read from a pipe.
    let lost = ending.kind == Kind::Unwatched && ending.errno == sys::EIO && ending.held[CLIENT].is_empty();
    assert!(lost || (ending.kind == Kind::GivenBack && !ending.held[CLIENT].is_empty()));
    assert!(ending.sides.iter().all(Option::is_some));
}

/// The state of a tunnel that was given back, and its sockets.
fn given_back(ending: Ending) -> (State, [OwnedFd; 2]) {
    let Ending { kind, side: ended, held, moved, answer, first, quiet, sides, .. } = ending;
    assert_eq!(kind, Kind::GivenBack);
    (State { held, ended, first, moved, answer, quiet }, sides.map(Option::unwrap))
}

#[test]
fn resumes_what_was_given_back() {
    let mut rig = Rig::new();
    let (mut client, mut target, mut shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    let bytes = noise(8 * MEBI);
    let sent = rig.fill(&mut client, &bytes);
    target.write_all(b"1234567").unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    rig.settle();
    let mut most = 0;
    for _ in 0..5 {
        rig.put(Command::GiveBack(shared));
        let (state, sides) = given_back(rig.ending());
        assert_eq!((state.ended, state.first, state.moved[TARGET], &state.answer[..]), (2, 2, 7, &b"17"[..]));
        assert!(bytes[state.moved[CLIENT] as usize..].starts_with(&state.held[CLIENT]));
        most = most.max(state.held[CLIENT].len());
        let tunnel = Tunnel::new(7, sides, state, NO_DEADLINES);
        shared = Arc::clone(&tunnel.shared);
        rig.put(Command::Add(tunnel));
        rig.settle();
        assert_eq!((shared.ended.load(Relaxed), shared.blocked.load(Relaxed)), (2, 1));
    }
    assert!(most > 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert!(rig.read_to_end(&mut target) == bytes[..sent]);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side, ending.moved), (Kind::Ok, 2, [sent as u64, 7]));
    assert_eq!(ending.answer, b"17");
}

#[test]
fn passes_on_the_ends_that_were_read_behind_what_is_held() {
    for (first, held) in [(1, &b"held"[..]), (2, b"held"), (1, b""), (2, b"")] {
        let mut rig = Rig::new();
        let ((mut client, ours_client), (mut target, ours_target)) = (pair(), pair());
        let held = [held.to_vec(), held.to_vec()];
        let state = State { held: held.clone(), ended: 3, first, moved: [5, 6], ..State::default() };
        let tunnel = Tunnel::new(7, [ours_client, ours_target], state, NO_DEADLINES);
        assert_eq!(tunnel.shared.ended.load(Relaxed), 3);
        rig.put(Command::Add(tunnel)); // both far ends are open: nothing is read
        let ending = rig.ending();
        let count = held[CLIENT].len() as u64;
        assert_eq!((ending.kind, ending.side, ending.moved), (Kind::Ok, first, [5 + count, 6 + count]));
        assert_eq!([rig.read_to_end(&mut target), rig.read_to_end(&mut client)], held);
    }
}

#[test]
fn an_end_that_waits_behind_held_bytes_is_given_back_again() {
    let mut rig = Rig::new();
    let ((_client, ours_client), (_target, ours_target)) = (small_pair(), small_pair());
    let bytes = noise(8 * MEBI);
    let state = State { held: [bytes.clone(), Vec::new()], ended: 3, first: 1, ..State::default() };
    let tunnel = Tunnel::new(7, [ours_client, ours_target], state, NO_DEADLINES);
    let shared = Arc::clone(&tunnel.shared);
    rig.put(Command::Add(tunnel));
    rig.settle();
    rig.put(Command::GiveBack(shared));
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side, ending.first), (Kind::GivenBack, 3, 1));
    assert!(ending.moved[CLIENT] > 0 && ending.held[CLIENT] == bytes[ending.moved[CLIENT] as usize..]);
}

#[test]
fn a_resumed_tunnel_has_been_silent() {
    for (ended, first, left) in [(0, 0, 700), (1, 1, 300), (1, 0, 300)] {
        let mut rig = Rig::new();
        rig.now = 10_000;
        let deadlines = Deadlines { idle: 1000, half_closed: 600 };
        let ((_client, ours_client), (_target, ours_target)) = (pair(), pair());
        let state = State { ended, first, quiet: 300, ..State::default() };
        let tunnel = Tunnel::new(7, [ours_client, ours_target], state, deadlines);
        let shared = Arc::clone(&tunnel.shared);
        rig.put(Command::Add(tunnel));
        assert_eq!(rig.relay.timer_at, rig.now + left);
        rig.advance(left - 1);
        rig.put(Command::GiveBack(shared));
        let (state, sides) = given_back(rig.ending());
        assert_eq!((state.quiet, state.ended, state.first), (300 + left - 1, ended, ended));
        rig.put(Command::Add(Tunnel::new(7, sides, State { quiet: u64::MAX, ..state }, deadlines)));
        assert_eq!(rig.ending().kind, Kind::Idle); // at once
    }
}
