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
