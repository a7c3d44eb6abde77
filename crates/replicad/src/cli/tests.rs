use super::*;
use crate::backend::{Backend, NodeState};
use crate::client::Client;
use crate::fake::Fake;
use crate::limits::Limits;
use crate::server::{Access, bind, serve};
use bytes::Bytes;
use clap::CommandFactory;
use load::{Report, Summary, load_rows};
use proptest::prelude::*;
use replica::{NodeId, RequestError};
use rows::{RowFormat, Rows};
use status::HEAD;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

struct Served {
    fake: Arc<Fake>,
    port: u16,
    _stop: watch::Sender<bool>,
}

impl Served {
    async fn new(limits: Limits) -> Self {
        let fake = Arc::new(Fake::new(limits));
        let listener = bind(0).await.expect("some port is free");
        let port = listener
            .local_addr()
            .expect("a listener has an address")
            .port();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(
            listener,
            Arc::clone(&fake) as Arc<dyn Backend>,
            Access::default(),
            stopped,
        ));
        Self {
            fake,
            port,
            _stop: stop,
        }
    }

    async fn client(&self) -> Client {
        Client::connect(self.port)
            .await
            .expect("the server listens")
    }

    async fn load(&self, format: RowFormat, text: Vec<u8>) -> Summary {
        let rows = Rows::new(Cursor::new(text), format, 1 << 20);
        let (summary, result) = load_rows(self.client().await, rows, Report::hidden()).await;
        result.expect("the connection holds");
        summary
    }

    async fn dump(&self, format: Format) -> Vec<u8> {
        let mut output = Vec::new();
        dump::dump_rows(self.client().await, format, &mut output)
            .await
            .expect("dumped");
        output
    }
}

fn awkward() -> BTreeMap<Bytes, Bytes> {
    let fields: Vec<&[u8]> = vec![
        b"",
        b"plain",
        b"tab\there",
        b"line\nend",
        b"\r\n",
        b"\n\r\n",
        b"ends in \r",
        b"\"quoted\"",
        b"\"",
        b"in \" the middle",
        b"base64:",
        b"base64:AAAA",
        b"\xff\xfe\x00",
        b"\xff\t\n\"",
        b"\0\x01\x7f",
        "h\u{e9}llo \u{1f600}".as_bytes(),
        "\u{feff}mark".as_bytes(),
        b" spaces ",
        b"{\"key\": 1}",
        b"\\",
    ];
    let pairs = fields
        .iter()
        .flat_map(|key| fields.iter().map(move |value| (key, value)));
    let numbered = pairs.enumerate().map(|(number, (key, value))| {
        let key = [key, number.to_string().as_bytes()].concat();
        (Bytes::from(key), Bytes::copy_from_slice(value))
    });
    let bare = fields
        .iter()
        .map(|field| (Bytes::from_static(field), Bytes::from_static(field)));
    numbered.chain(bare).collect()
}

#[tokio::test]
async fn what_is_dumped_can_be_loaded() {
    for (dumped, loaded) in [
        (Format::Tsv, RowFormat::Tsv),
        (Format::Jsonl, RowFormat::Jsonl),
    ] {
        let from = Served::new(Limits::default()).await;
        let to = Served::new(Limits::default()).await;
        let values = awkward();
        from.fake.state().values = values.clone();
        let summary = to.load(loaded, from.dump(dumped).await).await;
        assert_eq!(
            (summary.loaded, summary.bad),
            (values.len() as u64, 0),
            "{dumped:?}"
        );
        assert_eq!(to.fake.state().values, values, "{dumped:?}");
        assert_eq!(to.dump(dumped).await, from.dump(dumped).await);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_rows_survive_a_dump_and_a_load(
        values in proptest::collection::btree_map(field(), field(), 0..20),
        tsv in any::<bool>(),
    ) {
        let (dumped, loaded) = if tsv {
            (Format::Tsv, RowFormat::Tsv)
        } else {
            (Format::Jsonl, RowFormat::Jsonl)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let copy = runtime.block_on(async {
            let from = Served::new(Limits::default()).await;
            let to = Served::new(Limits::default()).await;
            from.fake.state().values = values.clone();
            to.load(loaded, from.dump(dumped).await).await;
            to.fake.state().values.clone()
        });
        prop_assert_eq!(copy, values);
    }
}

fn field() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"\t\n\r\"a".to_vec())];
    let text = proptest::sample::select(b"\t\n\r\"abse64:".to_vec());
    prop_oneof![
        proptest::collection::vec(byte, 0..8).prop_map(Bytes::from),
        proptest::collection::vec(text, 0..12).prop_map(Bytes::from),
    ]
}

#[tokio::test]
async fn a_byte_order_mark_at_the_start_of_a_dump_is_kept() {
    let served = Served::new(Limits::default()).await;
    served
        .fake
        .state()
        .values
        .insert("\u{feff}a".into(), "1".into());
    let dumped = served.dump(Format::Tsv).await;
    let other = Served::new(Limits::default()).await;
    other.load(RowFormat::Tsv, dumped).await;
    assert_eq!(other.fake.state().values, served.fake.state().values);
}

#[tokio::test]
async fn a_dump_leaves_counters_out_and_names_what_is_undecided() {
    let served = Served::new(Limits::default()).await;
    served.fake.state().values.insert("a".into(), "1".into());
    let mut client = served.client().await;
    let counted = client.call(&[b"INCR", b"n"]).await.expect("counted");
    assert_eq!(counted, Value::Integer(1));
    assert_eq!(served.dump(Format::Tsv).await, b"a\t1\n");
    let siblings = vec!["2".into()];
    served.fake.state().siblings.insert("a".into(), siblings);
    let refused = dump::dump_rows(client, Format::Tsv, &mut Vec::new()).await;
    let refused = refused.expect_err("a row has one value").to_string();
    assert!(
        refused.contains("'a' holds 2 concurrent values"),
        "{refused}"
    );
}

#[tokio::test]
async fn bad_and_refused_rows_are_counted_and_the_rest_is_loaded() {
    let served = Served::new(Limits {
        max_value_bytes: 10,
        ..Limits::default()
    })
    .await;
    let error = RequestError::NodeFailed(NodeId(1));
    served.fake.state().failures.insert(b'x', error);
    let text = "a\t1\nbad\nb\tover ten bytes\nx\t1\nc\t22\n";
    let summary = served.load(RowFormat::Tsv, text.into()).await;
    assert_eq!(
        summary,
        Summary {
            loaded: 2,
            bad: 1,
            refused: 2,
            bytes: 5
        }
    );
    let keys: Vec<_> = served.fake.state().values.keys().cloned().collect();
    assert_eq!(keys, ["a", "c"]);
}

#[tokio::test]
async fn many_rows_are_loaded_through_the_window() {
    let served = Served::new(Limits::default()).await;
    let text: String = (0..20_000)
        .map(|number| format!("word{number}\n"))
        .collect();
    let summary = served.load(RowFormat::Lines, text.into()).await;
    assert_eq!(summary.loaded, 20_000);
    assert_eq!(served.fake.state().values[&b"word41"[..]], "42");
}

#[tokio::test]
async fn the_status_is_a_table_with_a_verdict() {
    let served = Served::new(Limits::default()).await;
    let mut client = served.client().await;
    let status = status::cluster_status(&mut client).await.expect("a status");
    let text = status::table(&status);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), HEAD);
    assert_eq!(
        lines[1],
        "1     127.0.0.1:7001  up     1.0  0     0           <1:500, 2:20>  nothing  00ff"
    );
    assert_eq!(lines[0].find("LACKS"), lines[1].find("nothing"));
    assert_eq!(
        lines[5],
        "the checksums of the 3 nodes that are up are equal"
    );
    let mut other = status.clone();
    other.nodes[0].checksum = Some("01".into());
    assert!(status::table(&other).contains("DIFFER"));
    served.fake.state().failed.push(NodeId(2));
    served.fake.state().recovering = true;
    let status = status::cluster_status(&mut client).await.expect("a status");
    assert_eq!(status.nodes[1].state, NodeState::Failed);
    let text = status::table(&status);
    assert!(text.contains("5 of node 1"), "{text}");
    assert!(text.ends_with(
        "one node is up; there is nothing to compare; node 2 has failed; node 3 is recovering\n"
    ));
}

#[tokio::test]
async fn a_refused_recovery_says_how_to_go_on() {
    let served = Served::new(Limits::default()).await;
    served.fake.state().failed = vec![NodeId(2), NodeId(3)];
    let mut client = served.client().await;
    let wait = Duration::from_secs(1);
    let error = node::recover((&mut client, &Target::local(served.port)), 3, false, wait)
        .await
        .expect_err("too few nodes");
    assert!(
        error
            .to_string()
            .contains("`replicad node recover 3 --accept-loss`"),
        "{error}"
    );
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    let parse = |line: &str| Cli::try_parse_from(line.split(' '));
    let run = parse("replicad --port 9000 --nodes 5 --max-value-bytes 10")
        .expect("valid")
        .run;
    assert_eq!(
        (run.port, run.nodes, run.limits().max_value_bytes),
        (9000, 5, 10)
    );
    for line in [
        "replicad",
        "replicad load - --format lines --port 7002",
        "replicad dump --format jsonl",
        "replicad status --json",
        "replicad node fail 3 --port 7002",
        "replicad node recover 3 --accept-loss --timeout-seconds 5",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for line in [
        "replicad --nodes 2",
        "replicad --port 0",
        "replicad --max-value-bytes 99999999999",
        "replicad --port 1 status",
        "replicad load",
        "replicad node fail x",
        "replicad dump --format lines",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
