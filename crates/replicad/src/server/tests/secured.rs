//! TLS and the password, over the network.

use super::*;
use crate::password;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A server's certificate for `localhost`, and how it is trusted.
fn certificate() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("the key fits");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

async fn secured(limits: Limits, password: Option<Password>) -> (Served, TlsConnector) {
    let (acceptor, connector) = certificate();
    let tls = Some(acceptor);
    (
        Served::guarded(limits, Access { tls, password }).await,
        connector,
    )
}

async fn connect(served: &Served, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = connector.connect(name, served.raw().await);
    within(stream).await.expect("a handshake")
}

async fn answer(stream: &mut TlsStream<TcpStream>, command: &[u8], length: usize) -> Vec<u8> {
    stream.write_all(command).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut answer = vec![0; length];
    within(stream.read_exact(&mut answer))
        .await
        .expect("answered");
    answer
}

#[tokio::test]
async fn commands_are_answered_over_tls_short_and_long() {
    let (served, connector) = secured(Limits::default(), None).await;
    let mut stream = connect(&served, &connector).await;
    assert_eq!(answer(&mut stream, b"PING\r\n", 7).await, b"+PONG\r\n");
    let value = vec![b'v'; 1024 * 1024];
    served
        .fake
        .state()
        .values
        .insert("big".into(), value.clone().into());
    let got = answer(&mut stream, b"GET big\r\n", value.len() + 12).await;
    assert!(got.starts_with(b"$1048576\r\nvvv") && got.ends_with(b"v\r\n"));
    // Nothing of a reply stays behind in the encryption.
    for _ in 0..100 {
        assert_eq!(answer(&mut stream, b"PING\r\n", 7).await, b"+PONG\r\n");
    }
}

#[tokio::test]
async fn a_stranger_who_does_not_finish_the_handshake_is_cut_off() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let (served, connector) = secured(limits, None).await;
    let mut silent = served.raw().await;
    let mut plain = served.raw().await;
    plain.write_all(b"PING\r\n").await.expect("sent");
    // Whatever comes is no reply, and the connection ends.
    for stream in [&mut silent, &mut plain] {
        let mut answer = Vec::new();
        let _reset = within(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"+PONG"));
    }
    let mut stream = connect(&served, &connector).await;
    assert_eq!(answer(&mut stream, b"PING\r\n", 7).await, b"+PONG\r\n");
}

fn secret() -> Password {
    let hash = password::hash(b"secret").expect("a hash");
    Password::from_hash(&hash).expect("a hash")
}

#[tokio::test]
async fn the_password_is_named_once_and_commands_behind_it_wait() {
    let (served, connector) = secured(Limits::default(), Some(secret())).await;
    let mut stream = connect(&served, &connector).await;
    let noauth = b"-NOAUTH Authentication required.\r\n";
    let got = answer(&mut stream, b"GET k\r\n", noauth.len()).await;
    assert_eq!(got, noauth);
    let commands = b"AUTH secret\r\nSET k v\r\nGET k\r\n";
    let expected = b"+OK\r\n+OK\r\n$1\r\nv\r\n";
    assert_eq!(
        answer(&mut stream, commands, expected.len()).await,
        expected
    );
}

#[tokio::test]
async fn a_connection_without_the_password_ends_and_sends_nothing_long() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let access = Access {
        password: Some(secret()),
        tls: None,
    };
    let served = Served::guarded(limits, access).await;
    let mut silent = served.raw().await;
    let mut answer = String::new();
    within(silent.read_to_string(&mut answer))
        .await
        .expect("closed in order");
    assert_eq!(answer, "");
    let long = within(served.talk(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000\r\n")).await;
    assert_eq!(long, "-ERR Protocol error: unauthenticated bulk length\r\n");
}

#[tokio::test]
async fn hundreds_of_connections_name_the_password_without_waiting_for_each_other() {
    let access = Access {
        password: Some(secret()),
        tls: None,
    };
    let served = Served::guarded(Limits::default(), access).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = served.client().await;
        client.queue(&[b"AUTH", b"secret"]);
        client.queue(&[b"PING"]);
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(within(client.receive()).await.unwrap(), text("OK"));
        assert_eq!(within(client.receive()).await.unwrap(), text("PONG"));
    }
}
