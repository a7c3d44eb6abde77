//! What is forwarded, step by step.

use bytes::Bytes;
use crdt::Timestamp;

use super::*;
use crate::{Command, Floor, Level, Lww, Met, OperationId};

const KEPT: usize = 20;
const OWNERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const START: Now = at(100);

const fn at(elapsed_ms: u64) -> Now {
    Now {
        elapsed_ms,
        unix_ms: elapsed_ms,
    }
}

fn config() -> Config {
    let mut config = Config::new(NodeId(4), 4);
    (config.request_timeout_ms, config.resend_ms) = (1_000, 100);
    config
}

fn get() -> Request {
    Request::new(Command::get(Bytes::from_static(b"k")), Level::One)
}

fn put() -> Request {
    let put = Command::put(Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    Request::new(put, Level::One)
}

fn ask(forwards: &mut Forwards<Lww>, id: u64, request: Request) -> Option<Next<Lww>> {
    let (id, owners) = (RequestId(id), OWNERS.to_vec());
    forwards.start(id, PartitionId(7), owners, request, &config(), START)
}

/// Whom a request is sent to, its number, the life that it is meant for, and the time left for it.
fn sent(next: Option<Next<Lww>>) -> (NodeId, u64, Option<u64>, Option<u64>) {
    match next {
        Some(Next::Send {
            to,
            message:
                NodeMessage::Forward {
                    number,
                    life,
                    request,
                    ..
                },
        }) => (to, number, life, request.timeout_ms),
        Some(Next::Reply { request, result }) => panic!("{request} is answered: {result:?}"),
        _ => panic!("nothing is sent"),
    }
}

/// Which request is answered, and how.
fn reply(next: Option<Next<Lww>>) -> (u64, Answer<Lww>) {
    match next {
        Some(Next::Reply { request, result }) => (request.0, result),
        _ => panic!("nothing is answered"),
    }
}

fn refusal(node: NodeId) -> Answer<Lww> {
    Err(RequestError::NodeFailed(node))
}

fn written(time: u64) -> Answer<Lww> {
    Ok(Outcome::Written {
        timestamp: Timestamp(time),
        event: None,
        seen: Floor::default(),
        stable: std::sync::Arc::default(),
        took_effect: true,
        acknowledged: 1,
        met: Met::default(),
    })
}

const fn late(may_take_effect: bool) -> Answer<Lww> {
    Err(RequestError::Deadline {
        answered: 0,
        needed: 1,
        may_take_effect,
    })
}

const fn unreachable(may_take_effect: bool) -> Answer<Lww> {
    Err(RequestError::Unreachable {
        partition: PartitionId(7),
        may_take_effect,
    })
}

#[test]
fn the_preferred_owner_that_can_be_reached_is_asked() {
    let mut forwards = Forwards::new(1, KEPT);
    let first = |forwards: &mut Forwards<Lww>, id| sent(ask(forwards, id, get())).0;
    assert_eq!(first(&mut forwards, 1), OWNERS[0]);
    forwards.set_reachable(OWNERS[0], false);
    assert_eq!(first(&mut forwards, 2), OWNERS[1]);
    forwards.set_reachable(OWNERS[0], true);
    assert_eq!(first(&mut forwards, 3), OWNERS[0]);
    // Hints may be wrong.
    OWNERS
        .into_iter()
        .for_each(|owner| forwards.set_reachable(owner, false));
    assert_eq!(first(&mut forwards, 4), OWNERS[0]);
}

#[test]
fn no_more_are_pending_than_the_limit() {
    let mut config = config();
    config.max_pending = 2;
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    let mut ask = |id| {
        let (id, owners) = (RequestId(id), OWNERS.to_vec());
        forwards.start(id, PartitionId(7), owners, get(), &config, START)
    };
    assert_ne!(sent(ask(1)).1, sent(ask(2)).1, "each has its number");
    let (pending, limit) = (2, 2);
    let overloaded = Err(RequestError::Overloaded { pending, limit });
    assert_eq!(reply(ask(3)), (3, overloaded));
}

#[test]
fn an_owner_is_told_how_much_time_is_left() {
    let mut forwards = Forwards::new(1, KEPT);
    assert_eq!(forwards.next_due(), None);
    let (_, number, _, left) = sent(ask(&mut forwards, 1, get()));
    assert_eq!((left, forwards.next_due()), (Some(1_000), Some(200)));
    let again = forwards.note_answer(OWNERS[0], number, refusal(OWNERS[0]), at(150));
    assert_eq!(sent(again).3, Some(950));
    let (.., left) = sent(ask(&mut forwards, 2, get().within(50)));
    assert_eq!((left, forwards.next_due()), (Some(50), Some(150)));
    let (.., left) = sent(ask(&mut forwards, 3, get().within(5_000)));
    assert_eq!(left, Some(1_000), "no longer than the limit");
}

#[test]
fn a_refusal_turns_to_the_next_owner_until_all_have_refused() {
    let mut forwards = Forwards::new(1, KEPT);
    let (to, number, ..) = sent(ask(&mut forwards, 1, get()));
    assert_eq!(to, OWNERS[0]);
    let refuse =
        |forwards: &mut Forwards<Lww>, by| forwards.note_answer(by, number, refusal(by), START);
    assert_eq!(sent(refuse(&mut forwards, OWNERS[0])).0, OWNERS[1]);
    assert!(
        refuse(&mut forwards, OWNERS[0]).is_none(),
        "it is no longer asked"
    );
    assert_eq!(sent(refuse(&mut forwards, OWNERS[1])).0, OWNERS[2]);
    let last = reply(refuse(&mut forwards, OWNERS[2]));
    assert_eq!(last, (1, refusal(OWNERS[2])));
    assert!(refuse(&mut forwards, OWNERS[2]).is_none(), "it is answered");
}

/// Found by seed 105813 of system C: the first owner had carried out the write and was cut off.
#[test]
fn owners_that_refuse_do_not_speak_for_one_that_was_asked_before() {
    let mut forwards = Forwards::<Lww>::new(7, KEPT);
    let named = put().named(OperationId::new(5));
    let (first, number, ..) = sent(ask(&mut forwards, 1, named));
    // It is silent, so the others are asked for the write that it may have made, and they refuse.
    let (second, ..) = sent(forwards.expire(at(200)).pop());
    assert_ne!(first, second);
    let (third, ..) = sent(forwards.note_answer(second, number, refusal(second), at(201)));
    let (again, ..) = sent(forwards.note_answer(third, number, refusal(third), at(202)));
    let last = forwards.note_answer(again, number, refusal(again), at(203));
    let (denied, owners) = (0, OWNERS.len());
    let unknown = RequestError::OutcomeUnknown { denied, owners };
    assert_eq!(reply(last), (1, Err(unknown)));
    // Where nobody was silent, nothing was changed.
    let named = put().named(OperationId::new(6));
    let (mut asked, number, ..) = sent(ask(&mut forwards, 2, named));
    for _ in 1..OWNERS.len() {
        (asked, ..) = sent(forwards.note_answer(asked, number, refusal(asked), at(210)));
    }
    let last = forwards.note_answer(asked, number, refusal(asked), at(211));
    assert_eq!(reply(last), (2, refusal(asked)));
}

#[test]
fn an_answer_counts_from_whoever_gives_it() {
    let mut forwards = Forwards::new(1, KEPT);
    let (_, number, ..) = sent(ask(&mut forwards, 1, get()));
    let next = forwards.note_answer(OWNERS[0], number, refusal(OWNERS[0]), START);
    assert_eq!(sent(next).0, OWNERS[1]);
    // A copy of the question reaches the first owner once it is up again.
    let answer = forwards.note_answer(OWNERS[0], number, written(5), START);
    assert_eq!(reply(answer), (1, written(5)));
    // An error that no other owner can mend is passed on at once.
    let (_, number, ..) = sent(ask(&mut forwards, 2, put()));
    let error = || Err(RequestError::TimestampNeeded);
    let answer = forwards.note_answer(OWNERS[0], number, error(), START);
    assert_eq!(reply(answer), (2, error()));
}

#[test]
fn a_write_is_sent_again_in_the_life_that_its_owner_tells_and_in_no_other() {
    let mut forwards = Forwards::new(1, KEPT);
    let (_, number, life, _) = sent(ask(&mut forwards, 1, put()));
    assert_eq!(life, None);
    let other = forwards.note_life(OWNERS[1], number, 20, START);
    assert!(other.is_none(), "it was not asked");
    let told = sent(forwards.note_life(OWNERS[0], number, 10, START));
    assert_eq!(told, (OWNERS[0], number, Some(10), Some(1_000)));
    let copy = forwards.note_life(OWNERS[0], number, 10, START);
    assert!(copy.is_none(), "it was sent to that life");
    let (.., life, _) = sent(ask(&mut forwards, 2, put()));
    assert_eq!(life, Some(10), "lives are remembered");
    let elsewhere = forwards.note_life(OWNERS[1], number, 21, START);
    assert!(elsewhere.is_none(), "another owner starts again");
    let next = forwards.note_life(OWNERS[0], number, 11, START);
    assert_eq!(reply(next), (1, unreachable(true)));
    let refused = forwards.note_answer(OWNERS[0], number + 1, refusal(OWNERS[0]), START);
    assert_eq!(sent(refused).2, Some(21), "the latest life of the second");
}

#[test]
fn an_owner_that_was_gone_is_asked_for_its_life_again() {
    type Hint = fn(&mut Forwards<Lww>, bool);
    let hints: [Hint; 2] = [
        |forwards, is_gone| forwards.set_reachable(OWNERS[0], !is_gone),
        |forwards, is_gone| forwards.set_suspected(OWNERS[0], is_gone),
    ];
    for hint in hints {
        let mut forwards = Forwards::new(1, KEPT);
        let (_, number, ..) = sent(ask(&mut forwards, 1, put()));
        let told = sent(forwards.note_life(OWNERS[0], number, 10, START));
        assert_eq!((told.0, told.2), (OWNERS[0], Some(10)));
        hint(&mut forwards, false);
        let (.., life, _) = sent(ask(&mut forwards, 2, put()));
        assert_eq!(life, Some(10), "it was never gone");
        hint(&mut forwards, true);
        hint(&mut forwards, false);
        let (_, number, life, _) = sent(ask(&mut forwards, 3, put()));
        assert_eq!(life, None, "it may have ended meanwhile");
        let again = sent(forwards.note_life(OWNERS[0], number, 11, START));
        assert_eq!((again.0, again.2), (OWNERS[0], Some(11)));
    }
}

#[test]
fn silence_is_asked_again_ever_more_rarely_until_the_deadline() {
    for (request, next_owner) in [(get(), OWNERS[1]), (put(), OWNERS[0])] {
        let is_write = request.command.is_write();
        let mut forwards = Forwards::new(1, KEPT);
        let (_, number, ..) = sent(ask(&mut forwards, 1, request));
        let mut expire = |ms| forwards.expire(at(ms));
        assert!(expire(199).is_empty());
        let again = sent(expire(200).pop());
        assert_eq!(again, (next_owner, number, None, Some(900)));
        assert!(expire(399).is_empty(), "twice as long as the first time");
        assert_eq!(sent(expire(400).pop()).1, number);
        assert!(expire(799).is_empty());
        assert_eq!(sent(expire(800).pop()).1, number);
        assert!(expire(1_099).is_empty());
        let given_up = reply(expire(1_100).pop());
        assert_eq!(given_up, (1, late(is_write)));
        assert!(expire(9_999).is_empty());
        assert_eq!(forwards.next_due(), None);
    }
}

#[test]
fn a_deadline_is_told_from_owners_that_cannot_be_reached() {
    let mut forwards = Forwards::new(1, KEPT);
    let given_up = |forwards: &mut Forwards<Lww>| {
        ask(forwards, 1, put());
        reply(forwards.expire(at(1_100)).pop()).1
    };
    for owner in &OWNERS[..2] {
        forwards.set_reachable(*owner, false);
    }
    forwards.set_suspected(OWNERS[2], true);
    assert_eq!(
        given_up(&mut forwards),
        late(true),
        "a suspicion says nothing"
    );
    forwards.set_reachable(OWNERS[2], false);
    assert_eq!(given_up(&mut forwards), unreachable(true));
}

#[test]
fn requests_go_around_a_suspect_if_others_will_do() {
    let mut forwards = Forwards::new(1, KEPT);
    forwards.set_suspected(OWNERS[0], true);
    assert_eq!(sent(ask(&mut forwards, 1, put())).0, OWNERS[1]);
    assert_eq!(sent(ask(&mut forwards, 2, get())).0, OWNERS[1]);
    let again = |forwards: &mut Forwards<Lww>, ms| {
        let sent = forwards
            .expire(at(ms))
            .into_iter()
            .map(|next| sent(Some(next)));
        sent.map(|(to, ..)| to).collect::<Vec<_>>()
    };
    // The write stays where it may have been carried out; the read goes on, and not to the suspect.
    assert_eq!(again(&mut forwards, 200), [OWNERS[1], OWNERS[2]]);
    assert_eq!(again(&mut forwards, 400), [OWNERS[1], OWNERS[1]]);
    forwards.set_suspected(OWNERS[0], false);
    assert_eq!(sent(ask(&mut forwards, 3, get())).0, OWNERS[0]);
    for owner in OWNERS {
        forwards.set_suspected(owner, true);
    }
    assert_eq!(
        sent(ask(&mut forwards, 4, get())).0,
        OWNERS[0],
        "nobody is better"
    );
}

#[test]
fn a_read_goes_round_among_its_owners() {
    let mut forwards = Forwards::new(1, KEPT);
    ask(&mut forwards, 1, get());
    let asked = [200, 400, 800].map(|ms| sent(forwards.expire(at(ms)).pop()).0);
    assert_eq!(asked, [OWNERS[1], OWNERS[2], OWNERS[0]]);
}

/// Asks for a write until it is meant for the present life, as an asker does.
fn serve(forwards: &mut Forwards<Lww>, asked: Asked) -> Served<Lww> {
    match forwards.serve_write(asked, None) {
        Served::OtherLife(life) => forwards.serve_write(asked, Some(life)),
        _ => panic!("a write for no life is not carried out"),
    }
}

#[test]
fn a_write_that_was_served_is_not_served_again() {
    let (from, asker) = (NodeId(9), 3);
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    let ask = |forwards: &mut Forwards<Lww>, number| serve(forwards, (from, asker, number));
    assert!(matches!(ask(&mut forwards, 5), Served::New));
    assert!(matches!(ask(&mut forwards, 5), Served::Pending));
    assert!(matches!(ask(&mut forwards, 6), Served::New));
    for number in [5, 6] {
        forwards.note_served((from, asker, number), &written(number));
    }
    let served = |forwards: &mut Forwards<Lww>, number| match ask(forwards, number) {
        Served::Answered(answer) => answer,
        _ => panic!("{number} was answered"),
    };
    assert_eq!(served(&mut forwards, 5), written(5));
    // The answer to one of them was never durable.
    forwards.replace_served(from, 5, &refusal(from));
    assert_eq!(served(&mut forwards, 5), refusal(from));
    assert_eq!(served(&mut forwards, 6), written(6));
}

#[test]
fn a_read_is_made_once_at_a_time_and_its_answer_is_not_kept() {
    let asked = (NodeId(9), 3, 5);
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    assert!(forwards.serve_read(asked));
    assert!(!forwards.serve_read(asked), "it is being made");
    forwards.note_served(asked, &written(1));
    assert!(forwards.served.is_empty() && forwards.answered.is_empty());
    assert!(forwards.serve_read(asked), "it is made again");
}

#[test]
fn the_oldest_answers_are_forgotten_and_not_carried_out_again() {
    let (from, asker) = (NodeId(9), 3);
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    let mut write = |number| {
        assert!(matches!(
            serve(&mut forwards, (from, asker, number)),
            Served::New
        ));
        forwards.note_served((from, asker, number), &written(number));
        [1, 2].map(|early| {
            let early = serve(&mut forwards, (from, asker, early));
            matches!(early, Served::Forgotten)
        })
    };
    write(2);
    let kept = KEPT as u64;
    for number in 3..=kept + 1 {
        // The first was never seen, so it is begun; after that it is pending.
        assert_eq!(write(number), [false; 2], "{number}");
    }
    assert_eq!(write(kept + 2), [true; 2], "and what is older still");
    let kept = serve(&mut forwards, (from, asker, 3));
    assert!(matches!(kept, Served::Answered(_)));
}

#[test]
fn what_an_earlier_life_has_sent_is_not_carried_out_and_takes_no_room() {
    let from = NodeId(9);
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    let life_for = |forwards: &mut Forwards<Lww>, asker| {
        let asked = (from, asker, 0);
        match forwards.serve_write(asked, None) {
            Served::OtherLife(life) => life,
            _ => panic!("a write for no life is not carried out"),
        }
    };
    let first = life_for(&mut forwards, 100);
    let old = (from, 100, 7);
    assert!(matches!(
        forwards.serve_write(old, Some(first)),
        Served::New
    ));
    forwards.note_served(old, &written(7));
    let slow = (from, 100, 8);
    assert!(matches!(
        forwards.serve_write(slow, Some(first)),
        Served::New
    ));
    for asker in 101..200 {
        let life = life_for(&mut forwards, asker);
        assert_ne!(life, first, "what it has told others is of no use any more");
        let asked = (from, asker, 7);
        assert!(matches!(
            forwards.serve_write(asked, Some(life)),
            Served::New
        ));
        forwards.note_served(asked, &written(asker));
        // The answer to an earlier life comes late.
        forwards.note_served(slow, &written(8));
        let sizes = (forwards.served.len(), forwards.answered.len());
        assert_eq!((sizes, forwards.askers.len()), ((1, 1), 1));
    }
    // A copy of the first write arrives at last: its effect would come a second time.
    let late = forwards.serve_write(old, Some(first));
    assert!(matches!(late, Served::OtherLife(life) if life != first));
    let again = life_for(&mut forwards, 199);
    let copy = forwards.serve_write((from, 199, 7), Some(again));
    assert!(
        matches!(copy, Served::New),
        "only its asker can have sent it for this life"
    );
}

#[test]
fn askers_do_not_disturb_each_other() {
    let mut forwards = Forwards::<Lww>::new(1, KEPT);
    let (one, other) = ((NodeId(8), 1, 5), (NodeId(9), 1, 5));
    assert!(matches!(serve(&mut forwards, one), Served::New));
    forwards.note_served(one, &written(1));
    assert!(matches!(serve(&mut forwards, other), Served::New));
    assert!(matches!(
        serve(&mut forwards, (NodeId(9), 2, 5)),
        Served::New
    ));
    assert!(matches!(serve(&mut forwards, one), Served::Answered(_)));
}

#[test]
fn each_life_has_a_number_of_its_own() {
    let lives = [1, 2, 3].map(|random| Forwards::<Lww>::new(random, KEPT).life);
    assert!(lives[0] != lives[1] && lives[1] != lives[2]);
}
