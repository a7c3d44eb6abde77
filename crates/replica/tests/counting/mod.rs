//! What counts towards an answer, how often, and what the answer says of it.

use bytes::Bytes;
use crdt::{AddWinsSet, Edit};
use replica::{CausalValue, CausalWrite, Command, Level, Outcome, Request, RequestError};
use serde::{Deserialize, Serialize};

use crate::support::{Bench, put};
use crate::{A, B, C, D, E};

const K: &str = "k";

/// Stores of which each key is on every node, by each way to choose the quorums that are offered.
fn stores() -> Vec<Bench> {
    let stores = (3..=7).flat_map(|nodes| {
        let by_owners = Bench::new(nodes, |config| *config = config.clone().with_owners(nodes));
        [Bench::new(nodes, |_| ()), by_owners]
    });
    stores.collect()
}

/// Lets the first of `nodes` hear one more of the others after the other, until the request is answered.
fn hears_until_answered(bench: &mut Bench, nodes: &[u32], request: u64) {
    for heard in 1..=nodes.len() {
        bench.run(|f| f.among(&nodes[..heard]));
        if bench.reply(request).is_some() {
            break;
        }
    }
    bench.lose_all();
}

/// The fewest owners that acknowledge a write, and the fewest that answer a read, from the other end.
#[test]
fn a_read_by_the_fewest_owners_meets_a_write_by_the_fewest() {
    for mut bench in stores() {
        let mut nodes = bench.owners();
        let write = bench.put(nodes[0], K, "v");
        hears_until_answered(&mut bench, &nodes, write);
        assert!(bench.is_written(write));
        nodes.reverse();
        let read = bench.get(nodes[0], K);
        hears_until_answered(&mut bench, &nodes, read);
        assert_eq!(bench.read(read), Some("v"), "{nodes:?}");
    }
}

/// The same for two writes, the second of which is made by a clock that lags.
#[test]
fn a_write_by_the_fewest_owners_wins_over_an_earlier_one_by_the_fewest() {
    for mut bench in stores() {
        let mut nodes = bench.owners();
        bench.nudge(nodes[0], 9);
        let first = bench.put(nodes[0], K, "first");
        hears_until_answered(&mut bench, &nodes, first);
        assert!(bench.is_written(first));
        nodes.reverse();
        let second = bench.put(nodes[0], K, "second");
        hears_until_answered(&mut bench, &nodes, second);
        assert!(bench.is_written(second));
        assert_eq!(bench.settled(K), Some("second"), "{nodes:?}");
    }
}

#[test]
fn a_copy_of_an_acknowledgement_counts_once() {
    for level in [Level::Quorum, Level::Linearizable] {
        let mut bench = Bench::new(5, |config| config.read_quorum = 3);
        let write = bench.put_at(A, K, "v", level);
        bench.run(|f| f.among(&[A, D, E]) && f.kind().starts_with("read"));
        bench.deliver(|f| f.goes(A, B));
        let answers = bench.take(|f| f.goes(B, A) && f.kind() == "acknowledged");
        assert_eq!(answers.len(), 1);
        for copy in answers.iter().chain(&answers) {
            bench.arrive(copy.clone());
            assert_eq!(bench.reply(write), None, "A and B hold it");
        }
        bench.run(|f| f.among(&[A, C]));
        assert!(bench.is_written(write));
    }
}

#[test]
fn a_copy_of_a_confirmation_counts_once() {
    let mut bench = Bench::new(5, |_| ());
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let read = bench.get_at(A, K, Level::Linearizable);
    bench.run(|f| f.among(&[A, D, E]) && f.kind().starts_with("read"));
    bench.deliver(|f| f.goes(A, B));
    let answers = bench.take(|f| f.goes(B, A) && f.kind() == "written back");
    assert_eq!(answers.len(), 1);
    for copy in answers.iter().chain(&answers) {
        bench.arrive(copy.clone());
        assert_eq!(bench.reply(read), None, "A and B hold it");
    }
}

#[test]
fn a_failed_write_says_who_holds_it_and_who_has_something_later() {
    let mut bench = Bench::new(5, |config| {
        (config.write_quorum, config.read_quorum) = (5, 1);
    });
    bench.nudge(E, 9);
    bench.write_one(E, K, Some("newer"));
    bench.lose_all();
    let linearizable = Request::new(put(K, "v"), Level::Linearizable).within(100);
    let linearizable = bench.ask(A, linearizable);
    bench.run(|f| f.among(&[A, B]) || f.among(&[A, E]));
    bench.lose_all();
    assert_eq!(bench.node(E).counters().superseded_answers, 1);
    assert_eq!(bench.node(B).counters().superseded_answers, 0);
    bench.pass(A, 100);
    let (answered, needed, may_take_effect) = (3, 5, true);
    let error = RequestError::Deadline {
        answered,
        needed,
        may_take_effect,
    };
    assert_eq!(bench.failure(linearizable), &error, "A, B and E");
    assert_eq!(bench.node(A).status().pending, 0);
}

/// Adds a word to a set, or does nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Add(Option<String>);

impl CausalWrite for Add {
    type Store = AddWinsSet<String>;

    fn apply(&self, words: &mut Edit<'_, Self::Store>) -> bool {
        if let Some(word) = &self.0 {
            words.add(word.clone());
        }
        self.0.is_some()
    }

    fn size(&self) -> usize {
        self.0.as_ref().map_or(0, String::len)
    }
}

#[test]
fn an_answer_names_its_event_if_there_is_one() {
    let mut bench = Bench::<CausalValue<Add>>::with_policy(3, |_| ());
    let add = |bench: &mut Bench<CausalValue<Add>>, word: Option<&str>| {
        let command = Command::write(Bytes::from_static(b"k"), Add(word.map(str::to_owned)));
        let write = bench.ask(A, Request::new(command, Level::Quorum));
        bench.run(|_| true);
        match bench.reply(write) {
            Some(Ok(Outcome::Written {
                event, took_effect, ..
            })) => (event.map(|dot| dot.counter), *took_effect),
            other => panic!("the write returned {other:?}"),
        }
    };
    assert_eq!(add(&mut bench, None), (None, false), "nothing is there");
    assert_eq!(add(&mut bench, Some("one")), (Some(1), true));
    assert_eq!(
        add(&mut bench, None),
        (Some(1), false),
        "it waits for what is there"
    );
    assert_eq!(add(&mut bench, Some("two")), (Some(2), true));
}
