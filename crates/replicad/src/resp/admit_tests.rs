use super::*;
use proptest::prelude::*;

fn small() -> Limits {
    Limits {
        max_key_bytes: 16,
        max_value_bytes: 64,
        max_arguments: 10,
        max_frame_bytes: 200,
        max_skipped_bytes: 10_000,
        ..Limits::default()
    }
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend(format!("${}\r\n", argument.len()).into_bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// Feeds the pieces one by one and collects what is admitted.
fn feed<'a>(
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Admitted>, Option<ProtocolError>) {
    let mut admitter = Admitter::new(limits);
    let mut buffer = BytesMut::new();
    let mut admitted = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match admitter.next(&mut buffer) {
                Ok(Some(item)) => admitted.push(item),
                Ok(None) => break,
                Err(error) => return (admitted, Some(error)),
            }
        }
    }
    (admitted, None)
}

fn bytewise(limits: &Limits, stream: &[u8]) -> (Vec<Admitted>, Option<ProtocolError>) {
    feed(limits, stream.chunks(1))
}

fn command(words: &[&str]) -> Admitted {
    Admitted::Command(
        words
            .iter()
            .map(|w| Bytes::copy_from_slice(w.as_bytes()))
            .collect(),
    )
}

fn protocol_error(stream: &[u8]) -> String {
    let whole = feed(&small(), [stream]);
    let split = bytewise(&small(), stream);
    assert_eq!(whole, split);
    whole.1.expect("a protocol error").to_string()
}

#[test]
fn a_pipeline_is_admitted_command_by_command() {
    let stream = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n";
    let expected = (vec![command(&["GET", "a"]), command(&["PING"])], None);
    assert_eq!(feed(&small(), [&stream[..]]), expected);
    assert_eq!(bytewise(&small(), stream), expected);
}

#[test]
fn inline_commands_are_split_at_white_space() {
    let stream = b"PING\r\n\r\n  set  a\tb \nget a";
    let expected = (vec![command(&["PING"]), command(&["set", "a", "b"])], None);
    assert_eq!(feed(&small(), [&stream[..]]), expected);
    assert_eq!(bytewise(&small(), stream), expected);
}

#[test]
fn empty_arrays_are_passed_over_as_in_redis() {
    let stream = b"*0\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(bytewise(&small(), stream), (vec![command(&["PING"])], None));
}

#[test]
fn an_argument_over_the_limit_is_dropped_and_the_stream_goes_on() {
    let mut stream = encode(&[b"SET".to_vec(), b"k".to_vec(), vec![b'v'; 65]]);
    stream.extend(b"*1\r\n$4\r\nPING\r\n");
    let refusal = Refusal::Argument {
        name: Bytes::from("SET"),
        index: 2,
        size: 65,
    };
    let expected = (vec![Admitted::Refused(refusal), command(&["PING"])], None);
    assert_eq!(feed(&small(), [&stream[..]]), expected);
    assert_eq!(bytewise(&small(), &stream), expected);
}

#[test]
fn a_refused_command_is_never_buffered() {
    let limits = small();
    let mut admitter = Admitter::new(&limits);
    let mut buffer = BytesMut::from("*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$9000\r\n");
    for _ in 0..90 {
        assert_eq!(admitter.next(&mut buffer), Ok(None));
        assert!(buffer.is_empty(), "{} bytes are kept", buffer.len());
        buffer.extend_from_slice(&[b'v'; 100]);
    }
    buffer.extend_from_slice(b"\r\n$1\r\nb\r\n");
    let refusal = Refusal::Argument {
        name: Bytes::from("MSET"),
        index: 2,
        size: 9000,
    };
    assert_eq!(
        admitter.next(&mut buffer),
        Ok(Some(Admitted::Refused(refusal)))
    );
    assert!(buffer.is_empty());
}

#[test]
fn a_command_over_the_frame_limit_is_refused_as_a_whole() {
    let mut words = vec![b"MSET".to_vec()];
    words.extend(std::iter::repeat_n(vec![b'x'; 60], 4));
    let mut stream = encode(&words);
    stream.extend(b"PING\n");
    let expected = (
        vec![Admitted::Refused(Refusal::Frame), command(&["PING"])],
        None,
    );
    assert_eq!(feed(&small(), [&stream[..]]), expected);
    assert_eq!(bytewise(&small(), &stream), expected);
}

#[test]
fn an_inline_command_of_too_many_words_is_refused_as_a_whole() {
    let words = vec!["w"; small().max_arguments + 1].join(" ");
    let stream = format!("{words}\r\nPING\r\n");
    let expected = (
        vec![Admitted::Refused(Refusal::Frame), command(&["PING"])],
        None,
    );
    assert_eq!(feed(&small(), [stream.as_bytes()]), expected);
    assert_eq!(bytewise(&small(), stream.as_bytes()), expected);
}

#[test]
fn a_command_at_every_limit_is_admitted() {
    let limits = small();
    let words: Vec<_> = [vec![b'n'; 64], vec![b'k'; 64]].into_iter().collect();
    let (admitted, error) = bytewise(&limits, &encode(&words));
    assert_eq!(error, None);
    assert_eq!(
        admitted,
        [Admitted::Command(
            words.into_iter().map(Bytes::from).collect()
        )]
    );
}

#[test]
fn nonsense_is_a_protocol_error() {
    for (stream, expected) in [
        (&b"*-1\r\n"[..], "invalid multibulk length"),
        (b"*11\r\n", "invalid multibulk length"),
        (b"*99999999999\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1x\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*0000000000000001\r\n", "invalid multibulk length"),
        (
            b"*00000000000000000000000000000001\r\n",
            "too big count string",
        ),
        (b"*1\r*", "a line must end in CR LF"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$10001\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (
            b"*1\r\n$1\r\nabc",
            "bulk string is longer than its length says",
        ),
        (b"$4\r\nPING\r\n", "expected '*', got '$'"),
        (b"\0", "expected '*', got '\\u{0}'"),
        (b"POST / HTTP/1.1\r\n", "this is not an HTTP server"),
    ] {
        let error = protocol_error(stream);
        assert_eq!(error, format!("Protocol error: {expected}"), "{stream:?}");
    }
}

#[test]
fn a_line_without_end_is_a_protocol_error() {
    let stream = vec![b'a'; MAX_INLINE_BYTES];
    assert_eq!(
        protocol_error(&stream),
        "Protocol error: too big inline request"
    );
}

#[test]
fn many_skipped_arguments_together_are_a_protocol_error() {
    let words: Vec<_> = (0..10).map(|_| vec![b'x'; 2000]).collect();
    let error = protocol_error(&encode(&words));
    assert_eq!(error, "Protocol error: command is too long to be skipped");
}

#[test]
fn nothing_long_is_read_from_a_client_without_the_password() {
    let limits = Limits::default();
    let admit = |stream: &str, is_stranger| {
        let mut admitter = Admitter::new(&limits);
        admitter.set_stranger(is_stranger);
        admitter.next(&mut BytesMut::from(stream))
    };
    for (stream, error) in [
        (
            "*11\r\n",
            "Protocol error: unauthenticated multibulk length",
        ),
        (
            "*2\r\n$16385\r\n",
            "Protocol error: unauthenticated bulk length",
        ),
    ] {
        assert_eq!(admit(stream, false), Ok(None));
        let refused = admit(stream, true).expect_err("too long for a stranger");
        assert_eq!(refused.to_string(), error);
    }
    assert_eq!(admit("*10\r\n$16384\r\n", true), Ok(None));
}

#[test]
fn deeply_nested_arrays_end_at_the_second_level() {
    let stream = "*1\r\n".repeat(200_000);
    assert_eq!(
        protocol_error(stream.as_bytes()),
        "Protocol error: expected '$', got '*'"
    );
}

#[test]
fn a_large_value_in_small_pieces_takes_linear_time() {
    let limits = Limits::default();
    let words = [
        b"SET".to_vec(),
        b"k".to_vec(),
        vec![b'v'; limits.max_value_bytes],
    ];
    let stream = encode(&words);
    let started = std::time::Instant::now();
    let (admitted, _) = feed(&limits, stream.chunks(7));
    assert_eq!(admitted.len(), 1);
    assert!(
        started.elapsed().as_secs() < 5,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn the_missing_bytes_of_a_value_are_known() {
    let mut admitter = Admitter::new(&small());
    let mut buffer = BytesMut::from("*2\r\n$3\r\nGET\r\n$9\r\nabc");
    assert_eq!(admitter.missing(&buffer), 0);
    assert_eq!(admitter.next(&mut buffer), Ok(None));
    assert_eq!(admitter.missing(&buffer), 8);
}

/// Commands of which some go over a limit of [`small`].
fn commands() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let argument = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => proptest::collection::vec(any::<u8>(), 60..70),
    ];
    proptest::collection::vec(proptest::collection::vec(argument, 1..6), 0..8)
}

proptest! {
    #[test]
    fn every_split_of_a_stream_gives_the_same_commands(
        commands in commands(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let stream: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        let limits = small();
        let (whole, error) = feed(&limits, [&stream[..]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(whole.len(), commands.len());
        for (admitted, command) in whole.iter().zip(&commands) {
            if let Admitted::Command(words) = admitted {
                prop_assert_eq!(words, command);
            } else {
                let over = command.iter().any(|argument| argument.len() > 64)
                    || encode(command).len() > 200;
                prop_assert!(over, "{:?} is within the limits", command);
            }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        prop_assert_eq!(&feed(&limits, pieces), &(whole.clone(), None));
        prop_assert_eq!(&bytewise(&limits, &stream), &(whole, None));
    }

    #[test]
    fn random_bytes_never_panic(
        head in proptest::sample::select(vec![&b""[..], b"*", b"*1\r\n$", b"*2\r\n$1\r\n", b"P"]),
        noise in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"*$:\r\n0123456789 ".to_vec())],
            0..200,
        ),
    ) {
        let stream = [head, &noise].concat();
        prop_assert_eq!(feed(&small(), [&stream[..]]), bytewise(&small(), &stream));
    }
}
