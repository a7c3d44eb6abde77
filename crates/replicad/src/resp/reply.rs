//! Replies, and how each version of the protocol spells them.

use bytes::{Bytes, BytesMut};
use redis_protocol::error::RedisProtocolError;
use redis_protocol::{resp2, resp3};

/// The version of the protocol that a connection speaks, chosen by `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    /// What a connection starts with.
    #[default]
    Resp2,
    /// Adds maps and a null of its own.
    Resp3,
}

impl Protocol {
    /// The number used in `HELLO`.
    pub(crate) fn version(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// One reply to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A short word such as `OK`.
    Simple(&'static str),
    /// An error: an upper-case code, a space, and what went wrong.
    Error(String),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(Bytes),
    /// Nothing is there.
    Null,
    /// A sequence.
    Array(Vec<Reply>),
    /// Different items, in order; in RESP2 a sequence.
    Set(Vec<Reply>),
    /// Pairs, in order; in RESP2 a sequence of twice the length.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// The usual `OK`.
    pub(crate) const OK: Self = Self::Simple("OK");

    /// An error with the general code `ERR`.
    pub(crate) fn error(message: impl std::fmt::Display) -> Self {
        Self::Error(format!("ERR {message}"))
    }

    /// A bulk string of text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// A count.
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Whether it is one item, of less than so many bytes.
    pub(crate) fn is_shorter_than(&self, bytes: usize) -> bool {
        match self {
            Self::Simple(_) | Self::Integer(_) | Self::Null => true,
            Self::Error(message) => message.len() < bytes,
            Self::Bulk(value) => value.len() < bytes,
            Self::Array(_) | Self::Set(_) | Self::Map(_) => false,
        }
    }

    /// Appends the reply to the output.
    ///
    /// # Errors
    ///
    /// If the library cannot encode it; the output is then of no use.
    pub(crate) fn encode(
        self,
        protocol: Protocol,
        output: &mut BytesMut,
    ) -> Result<(), RedisProtocolError> {
        match protocol {
            Protocol::Resp2 => resp2::encode::extend_encode(output, &self.into_resp2(), false),
            Protocol::Resp3 => {
                resp3::encode::complete::extend_encode(output, &self.into_resp3(), false)
            }
        }
        .map(|_| ())
    }

    fn into_resp2(self) -> resp2::types::BytesFrame {
        use resp2::types::BytesFrame as Frame;
        match self {
            Self::Simple(word) => Frame::SimpleString(Bytes::from_static(word.as_bytes())),
            Self::Error(message) => Frame::Error(one_line(message).into()),
            Self::Integer(number) => Frame::Integer(number),
            Self::Bulk(bytes) => Frame::BulkString(bytes),
            Self::Null => Frame::Null,
            Self::Array(items) | Self::Set(items) => {
                Frame::Array(items.into_iter().map(Self::into_resp2).collect())
            }
            Self::Map(pairs) => Frame::Array(
                pairs
                    .into_iter()
                    .flat_map(|(k, v)| [k.into_resp2(), v.into_resp2()])
                    .collect(),
            ),
        }
    }

    fn into_resp3(self) -> resp3::types::BytesFrame {
        use resp3::types::BytesFrame as Frame;
        let attributes = None;
        match self {
            Self::Simple(word) => Frame::SimpleString {
                data: Bytes::from_static(word.as_bytes()),
                attributes,
            },
            Self::Error(message) => Frame::SimpleError {
                data: one_line(message).into(),
                attributes,
            },
            Self::Integer(data) => Frame::Number { data, attributes },
            Self::Bulk(data) => Frame::BlobString { data, attributes },
            Self::Null => Frame::Null,
            Self::Array(items) => Frame::Array {
                data: items.into_iter().map(Self::into_resp3).collect(),
                attributes,
            },
            Self::Set(items) => Frame::Set {
                data: items.into_iter().map(Self::into_resp3).collect(),
                attributes,
            },
            Self::Map(pairs) => Frame::Map {
                data: pairs
                    .into_iter()
                    .map(|(k, v)| (k.into_resp3(), v.into_resp3()))
                    .collect(),
                attributes,
            },
        }
    }
}

/// An error is one line of the protocol: anything a client sent that is echoed in it must not end it.
fn one_line(message: String) -> String {
    if message.contains(['\r', '\n']) {
        message.replace(['\r', '\n'], " ")
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: Reply, protocol: Protocol) -> String {
        let mut output = BytesMut::new();
        reply
            .encode(protocol, &mut output)
            .expect("a reply encodes");
        String::from_utf8(output.to_vec()).expect("these replies are text")
    }

    fn spelled(reply: &Reply) -> (String, String) {
        (
            encoded(reply.clone(), Protocol::Resp2),
            encoded(reply.clone(), Protocol::Resp3),
        )
    }

    #[test]
    fn plain_replies_are_spelled_alike_in_both_versions() {
        for (reply, bytes) in [
            (Reply::OK, "+OK\r\n"),
            (Reply::error("no"), "-ERR no\r\n"),
            (Reply::Integer(-7), ":-7\r\n"),
            (Reply::text("a\r\nb"), "$4\r\na\r\nb\r\n"),
            (Reply::text(""), "$0\r\n\r\n"),
            (Reply::Array(vec![]), "*0\r\n"),
            (
                Reply::Array(vec![Reply::Integer(1), Reply::text("x")]),
                "*2\r\n:1\r\n$1\r\nx\r\n",
            ),
        ] {
            assert_eq!(spelled(&reply), (bytes.into(), bytes.into()), "{reply:?}");
        }
    }

    #[test]
    fn null_and_map_differ_between_the_versions() {
        assert_eq!(spelled(&Reply::Null), ("$-1\r\n".into(), "_\r\n".into()));
        let map = Reply::Map(vec![(Reply::text("a"), Reply::Null)]);
        assert_eq!(
            spelled(&map),
            (
                "*2\r\n$1\r\na\r\n$-1\r\n".into(),
                "%1\r\n$1\r\na\r\n_\r\n".into()
            )
        );
    }

    #[test]
    fn a_set_is_a_sequence_where_there_are_no_sets() {
        let set = Reply::Set(vec![Reply::text("b"), Reply::text("a")]);
        let items = "2\r\n$1\r\nb\r\n$1\r\na\r\n";
        assert_eq!(spelled(&set), (format!("*{items}"), format!("~{items}")));
    }

    #[test]
    fn an_error_never_spans_lines() {
        let (two, three) = spelled(&Reply::error("a\r\n+OK"));
        assert_eq!(two, "-ERR a  +OK\r\n");
        assert_eq!(three, two);
    }

    #[test]
    fn replies_are_appended() {
        let mut output = BytesMut::from("x");
        Reply::Null
            .encode(Protocol::Resp2, &mut output)
            .expect("a reply encodes");
        Reply::OK
            .encode(Protocol::Resp3, &mut output)
            .expect("a reply encodes");
        assert_eq!(&output[..], b"x$-1\r\n+OK\r\n");
    }
}
