//! What an operator watches, asks and does, with nodes that are processes.

use crate::common::{complaint, free_ports, replicad, run};
use crate::nodes::{Cluster, append, until};
use replicad::client::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::process::{Output, Stdio};

/// Every figure, as the manual has it.
const MANUAL: &str = include_str!("../../../../docs/operations.md");

/// A new cluster whose nodes are watched on three ports from `metrics` on. `more` is added to their settings.
fn watched(more: &str) -> (Cluster, u16) {
    let (cluster, metrics) = (Cluster::new(), free_ports());
    for i in 0..3 {
        let port = metrics + i;
        let more = format!("{more}\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
        append(&cluster.config(usize::from(i)), &more);
    }
    (cluster, metrics)
}

/// The status line and the body of an answer over HTTP; nothing if nobody listens.
fn fetch(port: u16, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: node\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.lines().next()?.to_owned(), body.to_owned()))
}

fn status_of(port: u16, path: &str) -> String {
    fetch(port, path).map_or_else(String::new, |(status, _)| status)
}

/// The value of a figure, by its name and labels.
fn figure(port: u16, name: &str) -> Option<f64> {
    let (_, text) = fetch(port, "/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line?.trim().parse().ok()
}

fn ask(cluster: &Cluster, i: usize, subcommand: &[&str]) -> Output {
    let address = format!("127.0.0.1:{}", cluster.clients[i]);
    run(&[subcommand, &["--address", &address]].concat())
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", complaint(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_cluster_is_watched_verified_copied_and_drained() {
    let (mut cluster, metrics) = watched("[timeouts]\ndrain_ms = 3600000");
    for i in 0..3 {
        cluster.start(i);
        until(|| cluster.ask(i, &[b"PING"]).is_some());
    }
    assert!(status_of(metrics, "/health").contains("200"));
    let (status, why) = fetch(metrics, "/ready").expect("an answer");
    assert!(
        status.contains("503") && why.contains("waiting"),
        "{status} {why}"
    );
    let begun = json(&ask(&cluster, 1, &["bootstrap", "--json"]));
    assert_eq!(begun["cluster"].as_str().map(str::len), Some(32));
    cluster.until_up();
    until(|| (0..3).all(|i| status_of(metrics + i, "/ready").contains("200")));

    for n in 0..20 {
        let key = format!("k{n}");
        let set = cluster.ask(n % 3, &[b"SET", key.as_bytes(), b"v"]);
        assert_eq!(set, Some(Value::Bytes("OK".into())));
    }
    let refused = cluster.ask(0, &[b"SADD", b"k0", b"member"]);
    assert!(matches!(refused, Some(Value::Error(_))), "{refused:?}");
    let sets = r#"replicad_requests_total{command="set",outcome="ok"}"#;
    assert_eq!(figure(metrics, sets), Some(7.0));
    let wrong = r#"replicad_requests_total{command="sadd",outcome="wrongtype"}"#;
    assert_eq!(figure(metrics, wrong), Some(1.0));
    until(|| figure(metrics, "replicad_keys") == Some(20.0));
    let commits = figure(metrics, "replicad_storage_commit_duration_seconds_count");
    assert!(commits.is_some_and(|commits| commits >= 1.0));
    let frames = r#"replicad_peer_received_frames_total{peer="2"}"#;
    assert!(figure(metrics, frames).is_some_and(|frames| frames >= 1.0));
    let (_, figures) = fetch(metrics, "/metrics").expect("figures");
    let names = figures
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE replicad_"));
    let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(
            MANUAL.contains(&format!("`{name}`")),
            "docs/operations.md lacks {name}"
        );
    }

    let known = json(&ask(&cluster, 2, &["explain", "k3", "--json"]));
    assert_eq!(known["key"], "k3");
    assert!(
        known["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    let verified = json(&ask(&cluster, 0, &["verify", "--stores", "--json"]));
    assert_eq!(verified["outcome"], "equal");
    assert_eq!(verified["nodes"][2]["store"], "sound");

    let copies = tempfile::tempdir().expect("a directory");
    let copy = copies.path().join("copy");
    let copy = copy.to_str().expect("a path in UTF-8");
    let made = json(&ask(&cluster, 1, &["snapshot", copy, "--json"]));
    assert_eq!(
        (&made["node"], &made["cluster"]),
        (&2.into(), &begun["cluster"])
    );
    let again = ask(&cluster, 1, &["snapshot", copy]);
    assert!(
        complaint(&again).contains("exists already"),
        "{}",
        complaint(&again)
    );
    let relative = ask(&cluster, 1, &["snapshot", "copy"]);
    assert_eq!(relative.status.code(), Some(1));

    cluster.kill(2);
    fs::remove_dir_all(cluster.data(2)).expect("it was there");
    let verified = ask(&cluster, 0, &["verify"]);
    assert_eq!(verified.status.code(), Some(4), "{}", complaint(&verified));
    let data = cluster.data(2);
    let data = data.to_str().expect("a path in UTF-8");
    let restore = ["restore", copy, "--data-dir", data, "--node", "3", "--json"];
    assert_eq!(json(&run(&restore))["node"], 3);
    assert!(!run(&restore).status.success(), "it is not empty any more");
    cluster.start(2);
    cluster.until_up();
    assert_eq!(
        cluster.ask(2, &[b"GET", b"k7"]),
        Some(Value::Bytes("v".into()))
    );
    cluster.until_equal();

    cluster.signal(0);
    until(|| {
        fetch(metrics, "/ready")
            .is_some_and(|(status, why)| status.contains("503") && why.contains("stopping"))
    });
    let read = cluster.ask(0, &[b"GET", b"k7"]);
    assert_eq!(read, Some(Value::Bytes("v".into())), "it still serves");
    until(|| {
        // An operator who does not want to wait.
        cluster.signal(0);
        cluster.has_ended(0)
    });
    cluster.kill(1);
    until(|| {
        let unready = fetch(metrics + 2, "/ready");
        unready.is_some_and(|(_, why)| why.contains("quorum"))
    });
}

#[test]
fn a_store_that_is_damaged_while_it_is_used_is_found_and_put_aside() {
    let (mut cluster, metrics) = watched("cache_bytes = 1048576");
    for i in 0..3 {
        cluster.start(i);
        until(|| cluster.ask(i, &[b"PING"]).is_some());
    }
    assert!(ask(&cluster, 0, &["bootstrap"]).status.success());
    cluster.until_up();
    let value = vec![b'v'; 200_000];
    for n in 0..60 {
        let set = cluster.ask(0, &[b"SET", format!("k{n}").as_bytes(), &value]);
        assert_eq!(set, Some(Value::Bytes("OK".into())));
    }
    cluster.until_equal();
    let store = cluster.data(1).join("store");
    let file = OpenOptions::new()
        .write(true)
        .open(&store)
        .expect("a store");
    let length = file.metadata().expect("a file").len();
    // Most of the values, and nothing that the engine keeps in memory.
    for offset in (1_000_000..length).step_by(50_000) {
        file.write_all_at(b"damage", offset).expect("written");
    }
    let verified = ask(&cluster, 0, &["verify", "--stores"]);
    assert_eq!(verified.status.code(), Some(3), "{}", complaint(&verified));
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(text.contains("node 2: THE STORE IS DAMAGED"), "{text}");
    cluster.kill(1);
    cluster.start(1);
    cluster.until_up();
    until(|| figure(metrics + 1, "replicad_storage_quarantined_stores") == Some(1.0));
    let lost = figure(metrics + 1, "replicad_storage_partitions_lost_total");
    // The values are in all partitions of the strings, and there are no others.
    assert!(
        lost.is_some_and(|lost| (1.0..=16.0).contains(&lost)),
        "{lost:?}"
    );
    cluster.kill(2);
    cluster.start(2);
    cluster.until_up();
    let returns = ["confirmed", "unconfirmed"].map(|how| {
        let name = format!(r#"replicad_protocol_returns_{how}_total{{space="strings"}}"#);
        figure(metrics + 2, &name)
    });
    assert!(
        returns[0].is_some_and(|returns| returns >= 1.0),
        "{returns:?}"
    );
    assert_eq!(returns[1], Some(0.0), "somebody was waited for in vain");
    let verified = ask(
        &cluster,
        0,
        &["verify", "--stores", "--timeout-seconds", "60"],
    );
    assert!(verified.status.success(), "{}", complaint(&verified));
}

#[test]
fn a_subcommand_names_the_password_and_speaks_tls_and_no_secret_is_logged() {
    let mut cluster = Cluster::new();
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let (ca, certs) = (at("ca"), at("node"));
    for made in [
        run(&["cert", "ca", "--out", &ca]),
        run(&[
            "cert",
            "node",
            "--ca",
            &ca,
            "--id",
            "1",
            "--host",
            "127.0.0.1",
            "--out",
            &certs,
        ]),
    ] {
        assert!(made.status.success(), "{}", complaint(&made));
    }
    let mut hashing = replicad(&["password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = hashing.stdin.take().expect("an input");
    input.write_all(b"open sesame\n").expect("written");
    drop(input);
    let hash = hashing.wait_with_output().expect("it ends").stdout;
    let hash = String::from_utf8(hash).expect("text");
    let settings = format!(
        "[auth]\npassword_hash = '{}'\n[tls.clients]\ncert = {:?}\nkey = {:?}\n[log]\nlevel = \"trace\"\n",
        hash.trim(),
        at("node/node-1.pem"),
        at("node/node-1-key.pem")
    );
    append(&cluster.config(0), &settings);
    fs::write(at("password"), "open sesame\n").expect("written");
    fs::write(at("wrong"), "open barley\n").expect("written");
    let log = File::create(cluster.log(0)).expect("a file");
    cluster.start_with(0, Stdio::from(log));
    let authority = at("ca/ca.pem");
    let with = |more: &[&str]| {
        let tls = ["status", "--json", "--tls-ca", &authority];
        ask(&cluster, 0, &[&tls[..], more].concat())
    };
    let password = at("password");
    until(|| with(&["--password-file", &password]).status.success());
    let status = json(&with(&["--password-file", &password]));
    assert_eq!(status["nodes"][0]["state"], "waiting");
    let refused = with(&["--password-file", &at("wrong")]);
    assert!(
        complaint(&refused).contains("WRONGPASS"),
        "{}",
        complaint(&refused)
    );
    let refused = with(&[]);
    assert!(
        complaint(&refused).contains("NOAUTH"),
        "{}",
        complaint(&refused)
    );
    let refused = with(&["--password-file", &password, "--tls-name", "else.example"]);
    assert!(
        complaint(&refused).contains("cannot speak TLS"),
        "{}",
        complaint(&refused)
    );
    let plain = ask(&cluster, 0, &["status", "--password-file", &password]);
    assert!(!plain.status.success(), "the port speaks TLS only");
    let log = fs::read_to_string(cluster.log(0)).expect("a log");
    let key = fs::read_to_string(at("node/node-1-key.pem")).expect("a key");
    let body = key.lines().nth(1).expect("its first line of base 64");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    for secret in ["sesame", "barley", hash.trim(), body] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
