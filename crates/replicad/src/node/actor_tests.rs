use super::*;
use crate::policies::Types;
use crate::store::{Effect, Operation, Record, StoreAnswer};
use bytes::Bytes;
use replica::{Config, Level, Lww, Node};
use std::sync::Mutex;

use super::super::disk::Batches;

/// What happened, in order.
#[derive(Debug, Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().expect("not poisoned").push(what);
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.lock().expect("not poisoned").clone()
    }
}

/// A store that takes its time, and can refuse.
#[derive(Debug, Clone)]
struct Slow {
    diary: Diary,
    refuses: bool,
    room: Arc<Mutex<Room>>,
}

impl Disk for Slow {
    fn commit(&mut self, _: &Batches) -> Result<(), StorageError> {
        self.diary.note("commit starts");
        std::thread::sleep(Duration::from_millis(20));
        self.diary.note("commit ends");
        match self.refuses {
            true => Err(StorageError::new("commit", "no space left")),
            false => Ok(()),
        }
    }

    fn waits(&self) -> bool {
        true
    }

    fn room(&self) -> Room {
        *self.room.lock().expect("not poisoned")
    }

    fn sync_due_in(&self) -> Option<Duration> {
        None
    }

    fn sync_soon(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), StorageError> {
        self.diary.note("closed");
        Ok(())
    }
}

impl Router<Lww> for Diary {
    fn deliver(&self, _: NodeId, to: NodeId, _: SpaceMessage<Lww>, _: Option<RequestName>) {
        if to == NodeId(2) {
            self.note("message");
        }
    }
}

struct Running {
    disk: Slow,
    mailbox: Mailbox<Lww>,
    thread: std::thread::JoinHandle<()>,
}

fn config() -> Config {
    Config {
        durable: true,
        sync_interval_ms: 60_000,
        resend_ms: 60_000,
        ..Config::new(NodeId(1), 3)
    }
}

fn start(refuses: bool) -> Running {
    let (actor, mailbox, disk) = made(refuses, InboxLimits::default());
    Running {
        disk,
        mailbox,
        thread: std::thread::spawn(move || run_alone(actor)),
    }
}

/// An actor that does not run yet.
fn made(refuses: bool, limits: InboxLimits) -> (Actor<Lww>, Mailbox<Lww>, Slow) {
    let (diary, started) = (Diary::default(), Instant::now());
    let at = now(started);
    let strings = Node::<Lww>::bootstrap(config(), 1, at).expect("valid");
    let types = Node::<Types>::bootstrap(config(), 1, at).expect("valid");
    let mut spaces = Spaces::new(strings, types);
    let turn = spaces.take_turn();
    let first = spaces.effectuate(turn);
    let disk = Slow {
        diary: diary.clone(),
        refuses,
        room: Arc::new(Mutex::new(Room::Enough)),
    };
    let router = Arc::new(diary);
    let disk_too = Box::new(disk.clone());
    let (actor, mailbox) = Actor::new(spaces, first, disk_too, router, limits, started);
    (actor, mailbox, disk)
}

impl Running {
    fn stop(self) -> Vec<&'static str> {
        self.mailbox.insist(Input::Stop);
        self.thread.join().expect("the actor ends");
        self.disk.diary.entries()
    }

    fn ask(&self, key: &'static str, operation: Operation) -> Result<StoreAnswer, RequestError> {
        let request = StoreRequest::new(Bytes::from_static(key.as_bytes()), operation);
        let answer = self.mailbox.submit(request.at(Level::One));
        answer.blocking_recv().expect("an answer")
    }
}

fn put(key: &'static str) -> StoreRequest {
    let put = Operation::put(Bytes::from_static(b"v"));
    StoreRequest::new(Bytes::from_static(key.as_bytes()), put)
}

#[test]
fn nothing_is_released_before_it_is_durable_and_one_commit_serves_all_that_waited() {
    let running = start(false);
    let _first = running.mailbox.submit(put("a"));
    std::thread::sleep(Duration::from_millis(5));
    // These arrive while the first commit is under way, for both spaces.
    let _others: Vec<_> = ["b", "c"]
        .map(|key| running.mailbox.submit(put(key)))
        .into();
    let count = StoreRequest::new(Bytes::from_static(b"d"), Operation::Increment { by: 1 });
    let _count = running.mailbox.submit(count);
    let entries = running.stop();
    let commits = entries.iter().filter(|e| **e == "commit ends").count();
    assert_eq!(entries.iter().filter(|e| **e == "message").count(), 4);
    assert!(commits < 4, "four writes, {commits} commits: {entries:?}");
    assert_eq!(entries[..2], ["commit starts", "commit ends"]);
    let inside = entries
        .windows(2)
        .any(|w| w == ["commit starts", "message"]);
    assert!(!inside, "a message left during a commit: {entries:?}");
    assert_eq!(entries.last(), Some(&"closed"));
}

#[test]
fn an_inbox_is_bounded_in_bytes_and_one_value_always_fits() {
    let limits = InboxLimits {
        bytes: 100,
        ..InboxLimits::default()
    };
    let (mut actor, mailbox, _disk) = made(false, limits);
    let put = |bytes: usize| {
        let put = Operation::put(vec![0; bytes].into());
        let request = StoreRequest::new(Bytes::from_static(b"k"), put);
        mailbox.submit(request.at(Level::One))
    };
    let refused = |waiting| {
        Ok(Err(RequestError::TooMuchWaiting {
            waiting,
            limit: 100,
        }))
    };
    let (mut waits, mut too_much, mut fits) = (put(80), put(21), put(20));
    assert!(
        waits.try_recv().is_err() && fits.try_recv().is_err(),
        "they wait"
    );
    assert_eq!(too_much.try_recv(), refused(101));
    // What is taken makes room for as much.
    let mut turn = Turn::default();
    actor.take_inputs(None, &mut turn);
    let (mut alone, mut beside) = (put(1_000), put(1));
    assert!(alone.try_recv().is_err(), "it waits");
    assert_eq!(beside.try_recv(), refused(1_001));
    actor.take_inputs(None, &mut turn);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async { actor.commit_and_release(&mut turn) });
    for mut answer in [waits, fits, alone] {
        let answered = answer.try_recv().expect("it is answered");
        assert!(answered.is_ok(), "{answered:?}");
    }
}

#[test]
fn a_refused_commit_releases_nothing_and_both_spaces_stop_serving() {
    let running = start(true);
    for (key, operation) in [
        ("a", Operation::put(Bytes::new())),
        ("b", Operation::Get),
        ("c", Operation::Increment { by: 1 }),
        ("d", Operation::Look),
    ] {
        let answer = running.ask(key, operation);
        let is_refused = matches!(answer, Err(RequestError::StorageFailed { .. }));
        assert!(is_refused, "{key}: {answer:?}");
    }
    assert!(!running.stop().contains(&"message"));
}

#[test]
fn writes_of_types_say_what_they_did() {
    let running = start(false);
    let members = |names: &[&'static str]| {
        let name = |name: &&'static str| Bytes::from_static(name.as_bytes());
        names.iter().map(name).collect::<Vec<_>>()
    };
    let effect = |answer: Result<StoreAnswer, RequestError>| match answer {
        Ok(StoreAnswer::Written { effect, .. }) => effect.expect("it owns the key"),
        other => panic!("not written: {other:?}"),
    };
    let add = Operation::Add {
        members: members(&["x", "y"]),
    };
    let added = effect(running.ask("k", add.clone()));
    assert_eq!((added.added, added.removed), (2, 0));
    assert_eq!(effect(running.ask("k", add)).added, 0);
    let remove = Operation::Remove {
        members: members(&["y", "z"]),
    };
    assert_eq!(effect(running.ask("k", remove)).removed, 1);
    let counted = |by| effect(running.ask("k", Operation::Increment { by })).counter;
    assert_eq!(
        (counted(5), counted(0), counted(-7)),
        (Some(5), Some(5), Some(-2))
    );
    let record = Record {
        counter: Some(-2),
        members: Some(members(&["x"]).into_iter().collect()),
    };
    let looked = running.ask("k", Operation::Look);
    assert!(matches!(looked, Ok(StoreAnswer::Record { record: r, .. }) if r == record));
    assert_eq!(effect(running.ask("k", Operation::Drop)), Effect::default());
    running.ask("gone", Operation::Look).expect("a read");
    assert_eq!(running.mailbox.keys(), 0, "a removed counter is no key");
    running.stop();
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_writes_and_serves_reads_until_there_is_room() {
    let running = start(false);
    running
        .ask("a", Operation::put(Bytes::from_static(b"1")))
        .expect("room");
    let (free, reserve) = (10, 20);
    *running.disk.room.lock().expect("not poisoned") = Room::Low { free, reserve };
    let node = NodeId(1);
    let refused = Err(RequestError::NoRoom {
        node,
        free,
        reserve,
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while running.ask("b", Operation::Increment { by: 1 }) != refused {
        assert!(Instant::now() < deadline, "the lack of room is not noticed");
    }
    let read = running.ask("a", Operation::Get).expect("reads go on");
    assert!(matches!(read, StoreAnswer::Values { values, .. } if values == ["1"]));
    *running.disk.room.lock().expect("not poisoned") = Room::Enough;
    while running.ask("b", Operation::put(Bytes::new())).is_err() {
        assert!(Instant::now() < deadline, "the room is not noticed");
    }
    running.stop();
}

#[test]
fn a_read_past_the_inbox_shows_nothing_before_it_is_durable() {
    let running = start(false);
    let get = StoreRequest::new(Bytes::from_static(b"a"), Operation::Get).at(Level::One);
    let other = StoreRequest::new(Bytes::from_static(b"b"), Operation::Get).at(Level::One);
    let written = running.mailbox.submit(put("a").at(Level::One));
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut refused = 0;
    loop {
        let answer = running.mailbox.read_here(&get);
        let beside = running.mailbox.read_here(&other);
        let is_durable = running.disk.diary.entries().contains(&"commit ends");
        // A session keeps what a read has seen: events of other keys too.
        if let Some(StoreAnswer::Values { seen, .. }) = beside {
            assert!(is_durable || seen.context.is_empty(), "{seen:?}");
        }
        match answer {
            Some(StoreAnswer::Values { values, .. }) if values == ["v"] => {
                assert!(is_durable, "it is shown before the commit has ended");
                break;
            }
            Some(StoreAnswer::Values { values, .. }) => assert!(values.is_empty()),
            Some(other) => panic!("not a read: {other:?}"),
            None => refused += 1,
        }
        assert!(
            Instant::now() < deadline,
            "it is never shown; {refused} times refused"
        );
    }
    written
        .blocking_recv()
        .expect("an answer")
        .expect("written");
    let quorum = StoreRequest::new(Bytes::from_static(b"a"), Operation::Get);
    assert_eq!(running.mailbox.read_here(&quorum), None, "it takes others");
    let mut ahead = get;
    ahead.floor.context = [crdt::Dot::new(crdt::ReplicaId(9), 9)]
        .into_iter()
        .collect();
    assert_eq!(
        running.mailbox.read_here(&ahead),
        None,
        "the session has seen more"
    );
    running.stop();
}
