//! Who can speak with which certificate.

use super::*;
use crate::certificates::{Authority, make_authority};
use crate::transport::tls::{PeerTls, TlsError};
use std::path::Path;
use tempfile::TempDir;

/// The authority of a cluster named demo, with the certificates of three nodes and a client.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path();
        make_authority(path, "demo", 10).expect("an authority");
        let authority = Authority::load(path).expect("an authority");
        for node in 1..=3 {
            let hosts = ["localhost".into(), "127.0.0.1".into()];
            let made = authority.make_node(path, "demo", NodeId(node), &hosts, 10);
            made.expect("a certificate");
        }
        authority
            .make_client(path, "app", 10)
            .expect("a certificate");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What whoever has these files speaks with.
    fn load(&self, stem: &str) -> PeerTls {
        let file = |name: String| self.path().join(name);
        let (certificate, key) = (file(format!("{stem}.pem")), file(format!("{stem}-key.pem")));
        PeerTls::load(&file("ca.pem".into()), &certificate, &key).expect("they fit together")
    }
}

/// Node 1 with its certificate, and node `id` with some other or none; what becomes of them.
async fn meet(first: PeerTls, id: u32, second: Option<PeerTls>) -> ([Transport; 2], [Records; 2]) {
    let (listeners, nodes) = listeners(3).await;
    let mut listeners = listeners.into_iter();
    let mut start = |node: u32, tls: Option<PeerTls>| {
        let mut options = options(node, &nodes);
        options.tls = tls;
        let (handler, records) = recorder();
        let listener = listeners.nth(if node == 1 { 0 } else { node as usize - 2 });
        let transport = Transport::start_on(listener.expect("one"), options, handler);
        (transport.expect("it starts"), records)
    };
    let (one, at_one) = start(1, Some(first));
    let (other, at_other) = start(id, second);
    ([one, other], [at_one, at_other])
}

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_talk() {
    let files = Files::new();
    let ([one, two], [at_one, at_two]) =
        meet(files.load("node-1"), 2, Some(files.load("node-2"))).await;
    assert_eq!(next(&at_one.reachable).await, (NodeId(2), true));
    assert_eq!(next(&at_two.reachable).await, (NodeId(1), true));
    let large = vec![7; 3 << 20];
    one.send(NodeId(2), large.clone());
    assert!(next(&at_two.messages).await == (NodeId(1), large.into()));
    two.send(NodeId(1), Bytes::from_static(b"back"));
    assert_eq!(next(&at_one.messages).await.1, b"back"[..]);
    assert!(!format!("{:?}", one.shared.options).contains("PRIVATE"));
}

#[tokio::test]
async fn the_certificate_of_one_node_does_not_speak_as_another() {
    let files = Files::new();
    let ([one, _three], [at_one, at_three]) =
        meet(files.load("node-1"), 3, Some(files.load("node-2"))).await;
    until("it is refused", || one.counters().refused.load(Relaxed) > 0).await;
    // The other way, the dialling side sees that the certificate is not that of node 3.
    until("it is noticed", || {
        one.trouble(NodeId(3))
            .is_some_and(|trouble| trouble.contains("TLS: "))
    })
    .await;
    assert!(at_one.reachable.try_recv().is_err() && at_three.reachable.try_recv().is_err());
    let refused = files.load("node-2").check(NodeId(3), "demo");
    assert!(
        matches!(refused, Err(TlsError::AnotherNode { .. })),
        "{refused:?}"
    );
    assert!(files.load("node-2").check(NodeId(2), "other").is_err());
    assert!(files.load("node-2").check(NodeId(2), "demo").is_ok());
}

#[tokio::test]
async fn the_reason_reaches_whoever_has_the_certificate_of_another() {
    let files = Files::new();
    let ([one, three], _) = meet(files.load("node-1"), 3, Some(files.load("node-2"))).await;
    until("it is told", || {
        three.trouble(NodeId(1)).as_deref()
            == Some("the peer refused: you say that you are node 3, and your certificate does not")
    })
    .await;
    drop(one);
}

#[tokio::test]
async fn certificates_of_strangers_and_clients_and_none_at_all_are_refused() {
    let (ours, theirs) = (Files::new(), Files::new());
    for tls in [
        Some(theirs.load("node-2")),
        Some(ours.load("client-app")),
        None,
    ] {
        let with = tls.is_some();
        let ([one, two], [at_one, at_two]) = meet(ours.load("node-1"), 2, tls).await;
        until("it is refused", || one.counters().refused.load(Relaxed) > 0).await;
        until("both see trouble", || {
            let trouble = one.trouble(NodeId(2)).is_some() && two.trouble(NodeId(1)).is_some();
            trouble && one.counters().refused.load(Relaxed) > 1
        })
        .await;
        assert!(
            at_one.reachable.try_recv().is_err(),
            "with a certificate: {with}"
        );
        assert!(
            at_two.reachable.try_recv().is_err(),
            "with a certificate: {with}"
        );
    }
}

#[test]
fn files_that_do_not_fit_together_are_errors_that_name_them() {
    let files = Files::new();
    let file = |name: &str| files.path().join(name);
    let load = |ca: &str, certificate: &str, key: &str| {
        let loaded = PeerTls::load(&file(ca), &file(certificate), &file(key));
        loaded.expect_err("they do not fit").to_string()
    };
    assert!(load("none.pem", "node-1.pem", "node-1-key.pem").contains("none.pem"));
    assert!(load("ca.pem", "node-1-key.pem", "node-1-key.pem").contains("there is no certificate"));
    assert!(load("ca.pem", "node-1.pem", "ca.pem").contains("a private key"));
    let mixed = load("ca.pem", "node-1.pem", "node-2-key.pem");
    assert!(
        mixed.contains("node-1.pem") && mixed.contains("cannot be used"),
        "{mixed}"
    );
}

#[test]
fn clients_are_shown_a_certificate_and_may_be_asked_for_one() {
    let files = Files::new();
    let file = |name: &str| files.path().join(name);
    let (certificate, key) = (file("node-1.pem"), file("node-1-key.pem"));
    assert!(tls::client_facing(&certificate, &key, None).is_ok());
    assert!(tls::client_facing(&certificate, &key, Some(&file("ca.pem"))).is_ok());
    assert!(tls::client_facing(&certificate, &key, Some(&file("none.pem"))).is_err());
    assert!(tls::client_facing(&certificate, &file("node-2-key.pem"), None).is_err());
}
