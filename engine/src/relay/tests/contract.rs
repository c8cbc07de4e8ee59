//! Bytes, ends, backpressure and resets.

use super::*;

#[test]
fn passes_bytes_both_ways_and_those_read_before_first() {
    let mut rig = Rig::new();
    let (mut client, mut target, shared) = rig.open(b"hello ", NO_DEADLINES);
    client.write_all(b"world").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut target, 11), b"hello world");
    target.write_all(b"answer").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    assert_eq!(moved(&shared), (11, 6));
    drop((client, target));
    let ending = rig.ending();
    assert_eq!((ending.key, ending.kind, ending.errno, ending.moved), (7, Kind::Ok, 0, [11, 6]));
    assert!(ending.sides.iter().all(Option::is_none));
}

#[test]
fn a_small_message_is_one_read_and_one_write() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    fault::inject("recv", ECONNRESET, 1, 1); // a second read would fail
    fault::inject("send", ECONNRESET, 1, 1);
    client.write_all(b"x").unwrap();
    rig.settle();
    assert_eq!(read_exactly(&mut target, 1), b"x");
}

#[test]
fn each_side_may_end_first() {
    for first in [CLIENT, TARGET] {
        let mut rig = Rig::new();
        let (client, target, shared) = rig.open(b"", NO_DEADLINES);
        let (mut early, mut late) = if first == CLIENT { (client, target) } else { (target, client) };
        early.write_all(b"question").unwrap();
        early.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rig.read_to_end(&mut late), b"question");
        assert_eq!(shared.ended.load(Relaxed), 1 << first);
        let answer = noise(3 * MEBI);
        let sending = std::thread::spawn({
            let answer = answer.clone();
            move || late.write_all(&answer).unwrap()
        });
        assert!(rig.read_to_end(&mut early) == answer);
        sending.join().unwrap();
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.side), (Kind::Ok, first as u8 + 1));
    }
}

#[test]
fn both_sides_may_have_ended_before() {
    let mut rig = Rig::new();
    let ((client, ours_client), (target, ours_target)) = (pair(), pair());
    drop((client, target));
    let (tunnel, _) = tunnel(ours_client, ours_target, b"", NO_DEADLINES);
    rig.put(Command::Add(tunnel));
    assert_eq!(rig.ending().kind, Kind::Ok);
}

#[test]
fn a_full_side_stops_the_other_one_and_loses_nothing() {
    stops_and_loses_nothing_despite("none", 0);
}

#[test]
fn a_full_side_stops_the_other_one_without_splice_too() {
    stops_and_loses_nothing_despite("splice", sys::EINVAL);
}

fn stops_and_loses_nothing_despite(call: &'static str, errno: Errno) {
    let mut rig = Rig::new();
    fault::inject(call, errno, 0, usize::MAX);
    let (mut client, mut target, shared) = rig.open_with(small_pair, b"", NO_DEADLINES);
    let bytes = noise(16 * MEBI);
    let sent = rig.fill(&mut client, &bytes);
    assert!(sent < 3 * MEBI);
    assert_eq!(shared.blocked.load(Relaxed), 1);
    assert!((1..=MEBI).contains(&rig.held.load(Relaxed)));
    target.write_all(b"answer").unwrap(); // the other direction goes on
    rig.settle();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    let sending = std::thread::spawn({
        let rest = bytes[sent..].to_vec();
        move || {
            client.write_all(&rest).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            client
        }
    });
    assert!(rig.read_to_end(&mut target) == bytes);
    assert_eq!((shared.blocked.load(Relaxed), rig.held.load(Relaxed)), (0, 0));
    drop((sending.join().unwrap(), target));
    assert_eq!(rig.ending().kind, Kind::Ok);
}

#[test]
fn passes_on_a_reset() {
    for broken in [CLIENT, TARGET] {
        let mut rig = Rig::new();
        let (client, target, _) = rig.open(b"", NO_DEADLINES);
        rig.settle();
        let (far, mut other) = if broken == CLIENT { (client, target) } else { (target, client) };
        reset(far);
        let ending = rig.ending();
        assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, ECONNRESET, broken as u8 + 1));
        assert!(ending.sides.iter().all(Option::is_none));
        assert!(is_reset(&mut other));
    }
}

#[test]
fn passes_on_the_last_bytes_before_a_reset() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    client.write_all(b"never read").unwrap();
    rig.settle();
    target.write_all(b"alert").unwrap();
    drop(target); // with unread bytes: a reset
    client.write_all(b"more").unwrap();
    assert_eq!(rig.ending().kind, Kind::Reset);
    assert_eq!(read_exactly(&mut client, 5), b"alert");
}

#[test]
fn a_failed_write_passes_on_what_its_side_sent_before() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    target.write_all(b"alert").unwrap();
    client.write_all(b"x").unwrap();
    let count = rig.relay.epoll.wait(&mut rig.relay.events[..], 1000);
    let token = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    rig.relay.events[0] = Event { events: IN, u64: token }; // the client first
    fault::inject("send", libc::EPIPE, 0, 1);
    rig.relay.turn(count.min(1), rig.now);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.errno, ending.side), (Kind::Reset, libc::EPIPE, 2));
    assert_eq!(read_exactly(&mut client, 5), b"alert");
}

#[test]
fn a_write_that_fails_midway_leaves_each_direction_its_count() {
    let mut rig = Rig::new();
    let (mut client, mut target, _shared) = rig.open(b"", NO_DEADLINES);
    rig.settle();
    rig.relay.context.buffer = vec![0; 1000].into(); // each read fills it
    target.write_all(b"alert").unwrap();
    client.write_all(&noise(2000)).unwrap();
    let token = rig.relay.tunnels.iter(0..9).next().unwrap().0;
    rig.relay.events[0] = Event { events: IN, u64: token }; // the client first
    fault::inject("send", libc::EPIPE, 1, 1);
    assert!(rig.relay.turn(1, rig.now));
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side, ending.moved), (Kind::Reset, 2, [1000, 5]));
}

#[test]
fn sees_the_reset_of_a_side_that_is_not_read() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    rig.fill(&mut client, &noise(16 * MEBI));
    reset(client);
    let ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Reset, 1));
    let mut bytes = Vec::new();
    assert_eq!(target.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn sees_the_reset_of_a_full_side() {
    let mut rig = Rig::new();
    let (mut client, target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    rig.fill(&mut client, &noise(16 * MEBI));
    reset(target);
    assert_eq!((rig.ending().kind, is_reset(&mut client)), (Kind::Reset, true));
}

#[test]
fn a_reset_after_the_end_takes_nothing_back() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open(b"", NO_DEADLINES);
    let answer = noise(50_000);
    target.write_all(&answer).unwrap();
    target.shutdown(Shutdown::Write).unwrap();
    rig.settle();
    let got = read_exactly(&mut client, answer.len() - 1);
    reset(target);
    client.write_all(b"more").unwrap();
    let mut ending = rig.ending();
    assert_eq!((ending.kind, ending.side), (Kind::Reset, 2));
    assert!(ending.sides[TARGET].is_none());
    let ours = ending.sides[CLIENT].take().expect("returned for a lingering close");
    sys::end_writing(ours.as_fd());
    assert_eq!(rig.read_to_end(&mut client), &answer[got.len()..]);
    assert!(got == answer[..got.len()]);
}

#[test]
fn an_end_behind_bytes_for_a_slow_reader_is_no_reset() {
    let mut rig = Rig::new();
    let (mut client, mut target, _) = rig.open_with(small_pair, b"", NO_DEADLINES);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.read_to_end(&mut target), b"");
    let bytes = noise(8 * MEBI);
    let sent = rig.fill(&mut target, &bytes);
    drop(target);
    rig.settle();
    assert_eq!(rig.endings.take().len(), 0);
    assert!(rig.read_to_end(&mut client) == bytes[..sent]);
    assert_eq!(rig.ending().kind, Kind::Ok);
}
