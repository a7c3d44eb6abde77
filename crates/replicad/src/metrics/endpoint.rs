//! The port for figures: `/metrics`, `/health` and `/ready`, over HTTP/1.1.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time;

use crate::backend::BoxFuture;
use crate::server::stopped;

/// Connections at a time; more wait in the queue of the system.
const MAX_CONNECTIONS: usize = 16;

/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the head of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is watched through the port.
pub trait Watched: Send + Sync + 'static {
    /// The figures, as OpenMetrics text.
    fn figures(&self) -> BoxFuture<String>;

    /// Whether clients should be sent here.
    ///
    /// # Errors
    /// If not, why.
    fn readiness(&self) -> Result<(), String>;
}

/// Answers on the port until `shutdown` holds `true` or its sender is gone.
pub async fn serve(
    listener: TcpListener,
    watched: Arc<dyn Watched>,
    mut shutdown: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (watched, mut shutdown) = (Arc::clone(&watched), shutdown.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = stopped(&mut shutdown) => {}
                        _late = time::timeout(PATIENCE, converse(stream, watched)) => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for figures");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, watched: Arc<dyn Watched>) {
    let service = service_fn(move |request| {
        let watched = Arc::clone(&watched);
        async move { Ok::<_, Infallible>(answer(&request, &*watched).await) }
    });
    let served = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection for figures was lost");
    }
}

async fn answer(request: &Request<Incoming>, watched: &dyn Watched) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = "only GET is answered\n".to_owned();
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
    }
    match request.uri().path() {
        "/metrics" => response(StatusCode::OK, OPEN_METRICS, watched.figures().await),
        "/health" => response(StatusCode::OK, TEXT, "alive\n".to_owned()),
        "/ready" => match watched.readiness() {
            Ok(()) => response(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(reason) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        _ => {
            let text = "there are /metrics, /health and /ready\n".to_owned();
            response(StatusCode::NOT_FOUND, TEXT, text)
        }
    }
}

fn response(status: StatusCode, content: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Draining;

    impl Watched for Draining {
        fn figures(&self) -> BoxFuture<String> {
            Box::pin(async { "one 1\n".to_owned() })
        }

        fn readiness(&self) -> Result<(), String> {
            Err("the node is stopping".into())
        }
    }

    #[tokio::test]
    async fn each_path_has_its_answer_and_bad_requests_get_theirs() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (_stop, shutdown) = watch::channel(false);
        tokio::spawn(serve(listener, Arc::new(Draining), shutdown));
        for (request, status, body) in [
            ("GET /metrics HTTP/1.1\r\nhost: n\r\n\r\n", "200", "one 1\n"),
            ("GET /health HTTP/1.1\r\nhost: n\r\n\r\n", "200", "alive\n"),
            (
                "GET /ready HTTP/1.1\r\nhost: n\r\n\r\n",
                "503",
                "the node is stopping\n",
            ),
            ("GET /else HTTP/1.1\r\nhost: n\r\n\r\n", "404", "/ready\n"),
            (
                "POST /metrics HTTP/1.1\r\nhost: n\r\n\r\n",
                "405",
                "only GET is answered\n",
            ),
            ("nonsense\r\n\r\n", "400", ""),
        ] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("text");
            let first = answer.lines().next().expect("a line");
            assert!(first.contains(status), "{request:?}: {first}");
            assert!(answer.ends_with(body), "{request:?}: {answer}");
        }
    }
}
