//! Failing system calls, stale events, and descriptors.

use super::*;

#[test]
fn returns_sockets_that_cannot_be_watched() {
    for skip in [0, 1] {
        let mut rig = Rig::new();
        fault::inject("epoll_ctl", libc::ENOSPC, skip, 1);
        let (_client, mut target, _) = rig.open(b"read before", NO_DEADLINES);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno), (Kind::Unwatched, libc::ENOSPC));
        assert!(ending.sides.iter().all(Option::is_some));
        assert_eq!(read_exactly(&mut target, 11), b"read before");
    }
}

#[test]
fn reading_errors_break_that_side() {
    for (call, broken) in [("recv", 1), ("send", 2)] {
        let mut rig = Rig::new();
        let (mut client, _target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        fault::inject(call, libc::ETIMEDOUT, 0, 1);
        client.write_all(b"x").unwrap();
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, libc::ETIMEDOUT, broken));
    }
}

#[test]
fn an_event_of_an_ended_tunnel_reaches_no_other() {
    let mut rig = Rig::new();
    let (client, target, _) = rig.open(b"", NO_DEADLINES);
    let old = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    drop((client, target));
    rig.ending();
    let (mut client, _target, _) = rig.open(b"", NO_DEADLINES);
    let new = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    assert_eq!((old as u32, old >> 32 == new >> 32), (new as u32, false));
    rig.settle();
    fault::inject("recv", ECONNRESET, 0, 1);
    rig.relay.events[0] = Event { events: sys::ENDS | IN, u64: old };
    rig.relay.turn(1, rig.now);
    assert_eq!(rig.endings.take().len(), 0);
    fault::clear();
    client.write_all(b"x").unwrap();
    // Both sides of a tunnel are ready, and the first event ends it.
    rig.relay.events[0] = Event { events: IN, u64: new };
    rig.relay.events[1] = Event { events: IN, u64: new | 1 };
    fault::inject("recv", ECONNRESET, 0, 1);
    rig.relay.turn(2, rig.now);
    assert_eq!(rig.ending().kind, Kind::Reset);
}

#[test]
fn closing_leaves_no_descriptor() {
    let _alone = alone();
    let before = open_descriptors();
    let mut rig = Rig::alone();
    let mut far = vec![rig.open_with(small_pair, b"", NO_DEADLINES), rig.open(b"", NO_DEADLINES)];
    rig.fill(&mut far[0].0, &noise(16 * MEBI));
    let (tunnel, _) = tunnel(pair().1, pair().1, b"", NO_DEADLINES);
    assert!(rig.relay.inbox.commands.put(Command::Add(tunnel)).is_ok()); // not handled any more
    let inbox = rig.relay.inbox();
    rig.put(Command::End(Arc::clone(&far[1].2)));
    assert!(rig.idle_descriptors() <= 2);
    drop(rig);
    drop(far);
    assert!(inbox.commands.fd().is_none());
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_relay_that_cannot_be_made_leaves_no_descriptor() {
    let _alone = alone();
    let before = open_descriptors();
    let endings = Arc::new(Mailbox::<Ending>::new().unwrap());
    for call in ["epoll_create1", "timerfd_create", "eventfd", "epoll_ctl"] {
        fault::inject(call, libc::EMFILE, 0, 1);
        let silence = Silence { user_timeout: 0, probes: 0 };
        let relay = Relay::new(Arc::clone(&endings), silence, Arc::default(), Arc::default());
        assert_eq!(relay.err(), Some(libc::EMFILE));
    }
    drop(endings);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn an_idle_tunnel_is_small() {
    assert!(size_of::<Tunnel>() <= 80, "{}", size_of::<Tunnel>());
    assert!(size_of::<Shared>() <= 24, "{}", size_of::<Shared>());
}
