//! The `redis` crate with a cluster, as an example and a test. Other libraries: examples/clients.

use crate::common::Process;
use redis::{Client, Commands, Connection, Iter, RedisResult, Value, cmd};
use std::collections::{BTreeSet, HashMap};

fn connect(process: &Process, node: u16, protocol: u8) -> Connection {
    let port = process.port + node - 1;
    let url = format!("redis://127.0.0.1:{port}/?protocol=resp{protocol}");
    let client = Client::open(url).expect("an address");
    client.get_connection().expect("the node listens")
}

#[test]
fn the_redis_crate_works_with_a_cluster() -> RedisResult<()> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    for protocol in [2, 3] {
        values(&process, protocol)?;
        counters_and_sets(&process, protocol)?;
        sessions(&process, protocol)?;
    }
    Ok(())
}

fn values(process: &Process, protocol: u8) -> RedisResult<()> {
    let mut client = connect(process, 1, protocol);
    client.set::<_, _, ()>("sky", "blue")?;
    let mut other = connect(process, 2, protocol);
    assert_eq!(other.get::<_, String>("sky")?, "blue");
    client.mset::<_, _, ()>(&[("a", "1"), ("b", "2")])?;
    let many: Vec<Option<String>> = client.mget(&["a", "none", "b"])?;
    assert_eq!(many, [Some("1".into()), None, Some("2".into())]);

    let mut pipeline = redis::pipe();
    for n in 0..100 {
        pipeline
            .set(format!("row{n}"), n)
            .ignore()
            .get(format!("row{n}"));
    }
    let answers: Vec<i64> = pipeline.query(&mut client)?;
    assert_eq!(answers, (0..100).collect::<Vec<_>>());
    let rows: Iter<'_, String> = client.scan_match("row*")?;
    let rows = rows.collect::<RedisResult<BTreeSet<String>>>()?;
    assert_eq!(rows.len(), 100);

    let refused = client
        .rename::<_, _, ()>("a", "c")
        .expect_err("it is refused");
    assert!(
        refused.to_string().contains("RENAME is not supported"),
        "{refused}"
    );
    assert_eq!(client.del::<_, i64>(&["a", "b", "none"])?, 2);
    Ok(())
}

fn counters_and_sets(process: &Process, protocol: u8) -> RedisResult<()> {
    let mut client = connect(process, 3, protocol);
    let (hits, tags) = (format!("hits{protocol}"), format!("tags{protocol}"));
    assert_eq!(client.incr::<_, _, i64>(&hits, 42)?, 42);
    assert_eq!(client.decr::<_, _, i64>(&hits, 1)?, 41);
    assert_eq!(client.get::<_, i64>(&hits)?, 41);
    assert_eq!(client.sadd::<_, _, i64>(&tags, &["x", "y"])?, 2);
    assert_eq!(client.srem::<_, _, i64>(&tags, "x")?, 1);
    assert!(client.sismember::<_, _, bool>(&tags, "y")?);
    let members: BTreeSet<String> = client.smembers(&tags)?;
    assert_eq!(members, BTreeSet::from(["y".to_owned()]));
    let wrong = client
        .get::<_, Option<String>>(&tags)
        .expect_err("it is a set");
    assert!(
        wrong.to_string().contains("WRONGTYPE") || wrong.code() == Some("WRONGTYPE"),
        "{wrong}"
    );
    Ok(())
}

/// A client writes through one node, hands its token over, and another sees the write through another node, both at
/// level `ONE`, at which each node answers alone.
fn sessions(process: &Process, protocol: u8) -> RedisResult<()> {
    let mut first = connect(process, 1, protocol);
    cmd("R.LEVEL").arg("ONE").exec(&mut first)?;
    cmd("R.SESSION").arg("ON").exec(&mut first)?;
    let took_effect: bool = cmd("R.PUT").arg("mine").arg("v1").query(&mut first)?;
    assert!(took_effect);
    let token: String = cmd("R.SESSION").arg("TOKEN").query(&mut first)?;

    let mut second = connect(process, 3, protocol);
    cmd("R.LEVEL").arg("ONE").exec(&mut second)?;
    cmd("R.SESSION").arg("TOKEN").arg(token).exec(&mut second)?;
    assert_eq!(second.get::<_, String>("mine")?, "v1");
    let read: HashMap<String, Value> = cmd("R.GET").arg("mine").query(&mut second)?;
    let context: String = redis::from_redis_value(read["context"].clone())?;
    let set: i64 = cmd("R.SET")
        .arg(&["mine", "v2", "CONTEXT", &context, "LEVEL", "QUORUM"])
        .query(&mut second)?;
    assert_eq!(set, 1);
    assert_eq!(
        connect(process, 2, protocol).get::<_, String>("mine")?,
        "v2"
    );
    Ok(())
}
