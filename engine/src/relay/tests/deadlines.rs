//! Deadlines, and the check for unanswered peers.

use super::*;

#[test]
fn ends_an_idle_tunnel() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", Deadlines { idle: 10_000, half_closed: 60_000 });
    assert_eq!(rig.relay.timer_at, rig.now + 10_000);
    rig.advance(9_000);
    client.write_all(b"x").unwrap();
    rig.advance(9_000);
    assert_eq!(rig.endings.take().len(), 0);
    assert_eq!(read_exactly(&mut target, 1), b"x");
    rig.advance(1_000 + SWEEP_INTERVAL_MS);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Idle, 0));
    assert!(ending.sides.iter().all(Option::is_some));
}

#[test]
fn the_timer_wakes_it_when_something_is_due() {
    let mut rig = Rig::new();
    let _far = rig.open(b"", Deadlines { idle: 20, half_closed: 1 });
    rig.settle();
    assert_eq!(rig.relay.epoll.wait(&mut rig.relay.events[..], 10_000), 1);
    rig.relay.turn(1, rig.now + 19); // by the clock it is too early
    assert_eq!(rig.endings.take().len(), 0);
    assert_eq!(rig.relay.epoll.wait(&mut rig.relay.events[..], 10_000), 1);
    rig.relay.turn(1, rig.now + 20);
    assert_eq!(rig.endings.take().len(), 1);
}

#[test]
fn a_half_closed_tunnel_has_a_deadline_of_its_own() {
    for idle in [0, 300_000] {
        let mut rig = Rig::new();
        let (client, mut target, _) = rig.open(b"", Deadlines { idle, half_closed: 5_000 });
        rig.advance(60_000); // a silence before the end does not count
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.read_to_end(&mut target), b"");
        rig.advance(4_000);
        target.write_all(b"x").unwrap();
        rig.advance(4_000);
        assert_eq!(rig.endings.take().len(), 0);
        rig.advance(1_000 + SWEEP_INTERVAL_MS);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::Idle, 1));
    }
}

#[test]
fn many_deadlines_are_looked_at_together() {
    let mut rig = Rig::new();
    let far: Vec<_> = (0..20).map(|number| rig.open(b"", Deadlines { idle: 1000 + number, half_closed: 1 })).collect();
    rig.advance(1000);
    assert_eq!(rig.endings.take().len(), 1);
    assert_eq!(rig.relay.timer_at, rig.now + SWEEP_INTERVAL_MS);
    rig.advance(SWEEP_INTERVAL_MS);
    assert_eq!(rig.endings.take().len(), far.len() - 1);
}

#[test]
fn a_silent_tunnel_without_deadlines_wakes_nothing_but_the_check() {
    let mut rig = Rig::new();
    let (client, target, _) = rig.open(b"", NO_DEADLINES);
    assert_eq!(rig.relay.timer_at, rig.now + CHECK_INTERVAL_MS);
    drop((client, target));
    rig.ending();
    rig.advance(CHECK_INTERVAL_MS);
    assert!(rig.relay.timer_at > rig.now + CHECK_INTERVAL_MS);
}

#[test]
fn a_peer_that_acknowledges_nothing_gets_a_time_limit() {
    let mut rig = Rig::new();
    let (mut client, target, _) = rig.open(b"", NO_DEADLINES);
    let drop_all = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 }; // BPF_RET
    let mut filters = [drop_all];
    let program = libc::sock_fprog { len: 1, filter: filters.as_mut_ptr() };
    sys::set_option(target.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program);
    client.write_all(b"x").unwrap();
    rig.settle();
    let token = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    let fds = rig.relay.tunnels.get(token).unwrap().sides.each_ref().map(|fd| fd.as_raw_fd());
    let limit = |side: usize| user_timeout(&sys::borrow(fds[side]));
    while sys::unanswered(sys::borrow(fds[TARGET])).unwrap().0 == 0 {} // 0.2 s on loopback
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!((limit(CLIENT), limit(TARGET)), (0, 120_000));
    sys::set_option(target.as_fd(), libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
    while sys::unanswered(sys::borrow(fds[TARGET])).unwrap().0 > 0 {}
    rig.advance(CHECK_INTERVAL_MS);
    assert_eq!(limit(TARGET), 0);
}

#[test]
fn a_tunnel_that_lives_on_is_kept_alive() {
    let mut rig = Rig::new();
    let (client, target, _) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    let token = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    let fds = rig.relay.tunnels.get(token).unwrap().sides.each_ref().map(|fd| fd.as_raw_fd());
    let set = |side: usize, level, option| sys::option::<i32>(sys::borrow(fds[side]), level, option).unwrap();
    for side in [CLIENT, TARGET] {
        assert_eq!(set(side, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);
    }
    rig.advance(CHECK_INTERVAL_MS);
    for side in [CLIENT, TARGET] {
        assert_eq!(set(side, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        let options = [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT];
        assert_eq!(options.map(|option| set(side, libc::IPPROTO_TCP, option)), [60, 15, 4]);
    }
    drop((client, target));
}

#[test]
fn checks_in_batches() {
    let mut rig = Rig::new();
    let far: Vec<_> = (0..CHECK_BATCH + 1).map(|_| rig.open(b"", NO_DEADLINES)).collect();
    rig.settle();
    rig.now += CHECK_INTERVAL_MS;
    rig.turn();
    assert_eq!(rig.relay.checking, Some(CHECK_BATCH));
    rig.turn();
    assert_eq!((rig.relay.checking, rig.relay.timer_at), (None, rig.now + CHECK_INTERVAL_MS));
    drop(far);
}
