//! What clients keep and bring back: the token of a session.

use crdt::{Dot, Timestamp};
use replica::{Floor, Level, Placement};
use replicad::store::{Operation, StoreAnswer, StoreRequest, StoreSession};
use std::sync::Arc;

use super::files::check_lines;
use super::values::{A, B, bytes};

fn placement() -> Placement {
    Placement::new(3, 3, 4)
}

/// A session that has read and written in both spaces.
fn session() -> StoreSession {
    let mut session = StoreSession::new(placement(), placement());
    let answer = |replica, counter, time| StoreAnswer::Written {
        took_effect: true,
        timestamp: Some(Timestamp(time)),
        acknowledged: 2,
        seen: Floor {
            context: [Dot::new(A, 1), Dot::new(replica, counter)]
                .into_iter()
                .collect(),
            time: Timestamp(time),
        },
        stable: Arc::default(),
        effect: None,
    };
    let steps = [
        ("tea", Operation::put(bytes("green")), answer(A, 7, 900)),
        ("rice", Operation::Get, answer(B, 1_000, 1 << 45)),
        ("count", Operation::Increment { by: 2 }, answer(B, 3, 0)),
        ("set", Operation::Look, answer(A, 2, 0)),
    ];
    for (key, operation, answer) in steps {
        let noted = session.note(key.as_bytes(), &operation, &answer);
        noted.expect("the token is small");
    }
    session
}

#[test]
fn the_tokens_of_sessions_are_frozen_and_mean_the_same() {
    let fresh = StoreSession::new(placement(), placement());
    let texts = [fresh.to_text(), session().to_text()];
    check_lines("tokens.txt", &texts);
    for (text, session) in texts.iter().zip([fresh, session()]) {
        let resumed = StoreSession::resume(placement(), placement(), text.as_bytes());
        let resumed = resumed.expect("its own text");
        assert_eq!(resumed.to_text(), *text);
        for key in ["tea", "rice", "count", "set", "another"] {
            for operation in [Operation::Get, Operation::Look, Operation::Drop] {
                let request = StoreRequest::new(bytes(key), operation).at(Level::One);
                assert_eq!(
                    resumed.follow(request.clone()),
                    session.follow(request),
                    "{key}"
                );
            }
        }
    }
}
