//! How do I run nodes over a network of my own? Here three nodes talk over TCP, in frames of postcard
//! behind their length. A driver feeds its node messages, requests and the time, and sends what comes
//! out. Messages may be lost, so a connection that breaks is opened again, and that is all. A real
//! transport also proves who is at the other end. `cargo run -p replica --example own_transport`

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a driver has the sockets, the threads and the clock that the protocol is passed"
)]

use replica::{Command, Config, Level, Lww, MessageOf, Node, NodeId, NodeOutput, Now, Request};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

type Answer = Result<replica::Outcome, replica::RequestError>;
enum Input {
    Message((NodeId, MessageOf<Lww>)),
    Request(Request, Sender<Answer>),
}

fn send(mut to: &TcpStream, frame: &(NodeId, MessageOf<Lww>)) -> Result<(), Box<dyn Error>> {
    let bytes = postcard::to_stdvec(frame)?;
    let length = u32::try_from(bytes.len())?.to_be_bytes();
    Ok(to.write_all(&[&length[..], &bytes].concat())?)
}
fn receive(mut from: &TcpStream) -> Result<Input, Box<dyn Error>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length).min(64 << 20) as usize];
    from.read_exact(&mut bytes)?;
    Ok(Input::Message(postcard::from_bytes(&bytes)?))
}
fn listen(listener: &TcpListener, inbox: &Sender<Input>) {
    for stream in listener.incoming().flatten() {
        let inbox = inbox.clone();
        std::thread::spawn(move || while receive(&stream).is_ok_and(|m| inbox.send(m).is_ok()) {});
    }
}

fn drive(config: Config, inputs: &Receiver<Input>, addresses: [SocketAddr; 3]) {
    let (start, id, mut now) = (Instant::now(), config.node, Now::default());
    let mut node: Node = Node::bootstrap(config, id.0.into(), now).expect("valid");
    let (mut clients, mut streams) = (Vec::new(), [const { None::<TcpStream> }; 3]);
    let open = |to: usize| TcpStream::connect(addresses[to]).ok();
    loop {
        let due = node.deadline().unwrap_or(u64::MAX);
        let input = inputs.recv_timeout(Duration::from_millis(due.saturating_sub(now.elapsed_ms)));
        now.elapsed_ms = start.elapsed().as_millis() as u64;
        match input {
            Ok(Input::Message((from, message))) => node.handle_message(from, message, now),
            Ok(Input::Request(request, client)) => {
                node.handle_request(replica::RequestId(clients.len() as u64), request, now);
                clients.push(client);
            }
            Err(_) => {}
        }
        node.handle_timeout(now);
        // Nothing has to be made durable first: this node has no disk.
        for output in node.take_ready().outputs {
            match output {
                NodeOutput::Send { to, message } => {
                    let to = to.0 as usize - 1;
                    let stream = streams[to].take().or_else(|| open(to));
                    streams[to] = stream.filter(|stream| send(stream, &(id, message)).is_ok());
                }
                NodeOutput::Reply { request, result } => {
                    clients[request.0 as usize].send(result).ok();
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let addresses = listeners.each_ref().map(|l| l.local_addr().expect("up"));
    let nodes = [1, 2, 3].map(|_| channel());
    let inboxes = nodes.each_ref().map(|(inbox, _)| inbox.clone());
    for ((id, listener), (inbox, inputs)) in (1..).map(NodeId).zip(listeners).zip(nodes) {
        std::thread::spawn(move || listen(&listener, &inbox));
        std::thread::spawn(move || drive(Config::new(id, 3).with_owners(2), &inputs, addresses));
    }
    let ask = |node: usize, command| -> Result<_, Box<dyn Error>> {
        let (client, answer) = channel();
        inboxes[node].send(Input::Request(Request::new(command, Level::Quorum), client))?;
        Ok(answer.recv()??)
    };
    // Two of the three nodes hold the keys; the third one forwards.
    for (node, key) in ["sky", "sea", "sun"].into_iter().enumerate() {
        ask(node, Command::put(key.into(), "blue".into()))?;
        let read = ask((node + 1) % 3, Command::get(key.into()))?;
        assert_eq!(read.value(), Some(&"blue".into()));
    }
    Ok(())
}
