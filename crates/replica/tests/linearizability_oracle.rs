//! The search for linearizations beside another implementation: on random small histories both must give
//! the same verdict.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use replica::check::{Call, History, OperationId, SessionId, linearizability};
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};
use std::collections::BTreeMap;

/// Histories compared.
const HISTORIES: u64 = 6_000;

/// `None` is absent.
type Value = Option<u8>;

/// One history, as both checkers take it.
struct Both {
    ours: History,
    oracle: LinearizabilityTester<u64, Register<Value>>,
    running: BTreeMap<u64, (OperationId, RegisterOp<Value>)>,
    now: u64,
}

impl Both {
    fn invoke(&mut self, thread: u64, operation: RegisterOp<Value>) {
        self.now += 1;
        let (session, call) = (SessionId(thread), call(&operation, None));
        let id = self.ours.invoke(session, None, "k", call, self.now);
        let invoked = self.oracle.on_invoke(thread, operation.clone());
        assert!(invoked.is_ok(), "{thread} is idle");
        self.running.insert(thread, (id, operation));
    }

    /// Completes what the thread is doing; a read returns `value`.
    fn complete(&mut self, thread: u64, value: Value) {
        self.now += 1;
        let (id, operation) = self.running.remove(&thread).expect("it is running");
        self.ours.complete(id, self.now, call(&operation, value));
        let result = match operation {
            RegisterOp::Write(_) => RegisterRet::WriteOk,
            RegisterOp::Read => RegisterRet::ReadOk(value),
        };
        let completed = self.oracle.on_return(thread, result);
        assert!(completed.is_ok(), "{thread} was running");
    }
}

fn call(operation: &RegisterOp<Value>, read: Value) -> Call {
    let text = |value: Value| value.map(|v| v.to_string().into());
    let version = None;
    match operation {
        RegisterOp::Write(value) => Call::Write {
            value: text(*value),
            version,
        },
        RegisterOp::Read => Call::Read {
            value: text(read),
            version,
        },
    }
}

/// Up to four threads and twelve operations on few values. Reads mostly return what was written last by then,
/// so that many histories are linearizable and many are not; some operations never complete.
fn history(seed: u64) -> Both {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut both = Both {
        ours: History::default(),
        oracle: LinearizabilityTester::new(Register(None)),
        running: BTreeMap::new(),
        now: 0,
    };
    let mut threads: Vec<u64> = (0..rng.random_range(1..=4)).collect();
    let (mut fresh, mut last) = (100, None);
    for _ in 0..rng.random_range(4..=24) {
        let at = rng.random_range(0..threads.len());
        let any = |rng: &mut ChaCha8Rng| rng.random_range(0..4_u8).checked_sub(1);
        if !both.running.contains_key(&threads[at]) {
            let operation = match rng.random() {
                true => RegisterOp::Write(any(&mut rng)),
                false => RegisterOp::Read,
            };
            both.invoke(threads[at], operation);
        } else if rng.random_range(0..8) == 0 {
            // The client gives up; the operation may still take effect.
            (threads[at], fresh) = (fresh, fresh + 1);
        } else {
            if let RegisterOp::Write(value) = both.running[&threads[at]].1 {
                last = value;
            }
            let value = match rng.random_range(0..6) {
                0 => any(&mut rng),
                _ => last,
            };
            both.complete(threads[at], value);
        }
    }
    both
}

#[test]
fn our_search_and_that_of_stateright_agree() {
    let (mut linearizable, mut others) = (0, 0);
    for seed in 0..HISTORIES {
        let both = history(seed);
        let (ours, oracle) = (
            linearizability::check(&both.ours),
            both.oracle.is_consistent(),
        );
        assert_eq!(
            ours.is_ok(),
            oracle,
            "seed {seed}: {ours:?}\n{:#?}",
            both.ours
        );
        match oracle {
            true => linearizable += 1,
            false => others += 1,
        }
    }
    let enough = HISTORIES / 5;
    assert!(
        linearizable > enough && others > enough,
        "{linearizable} linearizable and {others} others"
    );
}
