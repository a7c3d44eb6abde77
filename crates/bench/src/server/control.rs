//! Single questions to a server of the Redis protocol, and waiting for answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a server may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);

/// The reply to one command, as it came. Only replies of one line and bulk strings are understood.
pub fn ask(address: SocketAddr, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(&super::wire::command(words))?;
    let (mut reply, mut chunk) = (Vec::new(), [0; 4096]);
    while !is_whole(&reply) {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => reply.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

fn is_whole(reply: &[u8]) -> bool {
    let Some(line) = reply.windows(2).position(|pair| pair == b"\r\n") else {
        return false;
    };
    let length = match reply.first() {
        Some(b'$') => std::str::from_utf8(&reply[1..line])
            .ok()
            .and_then(|t| t.parse().ok()),
        _ => None,
    };
    length.is_none_or(|length: usize| reply.len() >= line + 4 + length)
}

/// Waits until the reply to a command has `part` in it, and gives the time that took.
pub fn until(
    address: SocketAddr,
    words: &[&str],
    part: &str,
    patience: Duration,
) -> Result<Duration, String> {
    let start = Instant::now();
    loop {
        let last = ask(address, words);
        match &last {
            Ok(reply) if reply.contains(part) => return Ok(start.elapsed()),
            _ if start.elapsed() > patience => {
                return Err(format!(
                    "{words:?} at {address}: no {part:?} within {patience:?}: {last:?}"
                ));
            }
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
