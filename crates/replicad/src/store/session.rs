//! What a client has seen of both spaces.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use replica::{Guarantees, InvalidToken, Placement, Session, Token, TokenTooLarge};

use super::{Operation, Space, StoreAnswer, StoreRequest};

/// A client's session with a store: one of `replica` for each space.
#[derive(Debug, Clone)]
pub struct StoreSession {
    strings: Session,
    types: Session,
}

/// Text that is not the token of a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSession {
    /// Longer than any token.
    #[error("a token of {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Length of the text in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not base64 of the URL-safe alphabet, or not two parts.
    #[error("not a session token: it is two parts of URL-safe base64 with a point between them")]
    NotText,
    /// One of the parts is no token.
    #[error(transparent)]
    Token(#[from] InvalidToken),
}

impl StoreSession {
    /// The longest text that [`resume`](Self::resume) reads, in bytes.
    pub const MAX_TEXT_BYTES: usize = 1 << 20;

    /// A session that has seen nothing.
    pub fn new(strings: Placement, types: Placement) -> Self {
        let guarantees = Guarantees::default();
        Self {
            strings: Session::new(strings, guarantees),
            types: Session::new(types, guarantees),
        }
    }

    /// A session that goes on from a token: its own, or one that another client has handed over.
    ///
    /// # Errors
    /// If the text is not a token.
    pub fn resume(
        strings: Placement,
        types: Placement,
        text: &[u8],
    ) -> Result<Self, InvalidSession> {
        if text.len() > Self::MAX_TEXT_BYTES {
            let (bytes, limit) = (text.len(), Self::MAX_TEXT_BYTES);
            return Err(InvalidSession::TooLong { bytes, limit });
        }
        let point = text.iter().position(|byte| *byte == b'.');
        let (first, second) = text.split_at(point.ok_or(InvalidSession::NotText)?);
        let token = |part: &[u8]| {
            let bytes = URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| InvalidSession::NotText)?;
            Ok::<_, InvalidSession>(Token::from_bytes(&bytes)?)
        };
        let guarantees = Guarantees::default();
        Ok(Self {
            strings: Session::resume(strings, guarantees, token(first)?),
            types: Session::resume(types, guarantees, token(&second[1..])?),
        })
    }

    /// Takes over what another session has seen.
    pub fn join(&mut self, other: &Self) {
        self.strings.token_mut().join(other.strings.token());
        self.types.token_mut().join(other.types.token());
    }

    /// What it has seen, as text: letters, digits, `-`, `_` and one point.
    pub fn to_text(&self) -> String {
        let part = |session: &Session| URL_SAFE_NO_PAD.encode(session.token().to_bytes());
        format!("{}.{}", part(&self.strings), part(&self.types))
    }

    /// The request, asking for no less than the session has seen.
    #[must_use]
    pub fn follow(&self, mut request: StoreRequest) -> StoreRequest {
        let session = self.of(request.operation.space());
        let floor = match request.operation.is_write() {
            true => session.floor_of_writes(&request.key),
            false => session.floor_of_reads(&request.key),
        };
        request.floor.join(&floor);
        request
    }

    /// Takes note of the answer to an operation on a key, and drops what every owner has: what is left of a session, however
    /// long it is, is what it has seen lately.
    ///
    /// # Errors
    /// If the token has outgrown its limit. The session has taken note all the same.
    pub fn note(
        &mut self,
        key: &[u8],
        operation: &Operation,
        answer: &StoreAnswer,
    ) -> Result<(), TokenTooLarge> {
        let is_write = operation.is_write();
        let session = match operation.space() {
            Space::Strings => &mut self.strings,
            Space::Types => &mut self.types,
        };
        session.note_seen(key, answer.seen(), answer.stable(), is_write)
    }

    const fn of(&self, space: Space) -> &Session {
        match space {
            Space::Strings => &self.strings,
            Space::Types => &self.types,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use crdt::{Dot, ReplicaId, Timestamp};
    use replica::Floor;
    use std::sync::Arc;

    fn placement() -> Placement {
        Placement::new(3, 3, 4)
    }

    fn seen(counter: u64) -> Floor {
        Floor {
            context: [Dot::new(ReplicaId(1), counter)].into_iter().collect(),
            time: Timestamp(counter),
        }
    }

    fn look(key: &'static str) -> StoreRequest {
        StoreRequest::new(Bytes::from_static(key.as_bytes()), Operation::Look)
    }

    #[test]
    fn each_space_has_its_own_floor_and_both_go_through_text() {
        let mut session = StoreSession::new(placement(), placement());
        let (get, add) = (Operation::Get, Operation::Add { members: vec![] });
        let values = StoreAnswer::Values {
            values: vec![],
            timestamp: None,
            seen: seen(3),
            stable: Arc::default(),
        };
        let written = StoreAnswer::Written {
            took_effect: true,
            timestamp: None,
            acknowledged: 2,
            seen: seen(7),
            stable: Arc::default(),
            effect: None,
        };
        session.note(b"k", &get, &values).expect("small");
        session.note(b"k", &add, &written).expect("small");
        let text = session.to_text();
        let resumed = StoreSession::resume(placement(), placement(), text.as_bytes());
        let resumed = resumed.expect("its own token");
        for session in [session, resumed] {
            assert_eq!(session.follow(look("k")).floor.context, seen(7).context);
            let get = StoreRequest::new(Bytes::from_static(b"k"), Operation::Get);
            assert_eq!(session.follow(get).floor.context, seen(3).context);
        }
    }

    #[test]
    fn a_long_session_keeps_what_not_every_owner_has() {
        let mut session = StoreSession::new(placement(), placement());
        // Others write between the session's writes, and the owners are one of them behind.
        for counter in (3..2_000).step_by(2) {
            let written = StoreAnswer::Written {
                took_effect: true,
                timestamp: None,
                acknowledged: 1,
                seen: seen(counter),
                stable: Arc::new(seen(counter - 2).context),
                effect: None,
            };
            let put = Operation::put(Bytes::new());
            session.note(b"k", &put, &written).expect("small");
        }
        let get = StoreRequest::new(Bytes::from_static(b"k"), Operation::Get);
        assert_eq!(session.follow(get).floor.context, seen(1_999).context);
        assert!(session.to_text().len() < 64, "{}", session.to_text());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let resume = |text: &[u8]| StoreSession::resume(placement(), placement(), text);
        for text in [&b""[..], b"AA", b"!.AA", b"AAAA.?", b"\xff.\xff"] {
            assert_eq!(
                resume(text).err(),
                Some(InvalidSession::NotText),
                "{text:?}"
            );
        }
        assert!(matches!(resume(b"AAAA.AA"), Err(InvalidSession::Token(_))));
        let long = vec![b'A'; StoreSession::MAX_TEXT_BYTES + 1];
        assert!(matches!(resume(&long), Err(InvalidSession::TooLong { .. })));
        assert!(resume(b"AAAA.AAAA").is_ok(), "two empty tokens");
    }
}
