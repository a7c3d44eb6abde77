//! One client of the cluster: a connection that moves from node to node, and the words it uses.

use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use redis::{Cmd, Connection, ErrorKind, FromRedisValue, RedisError, RedisResult, Value, cmd};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cluster::connect_briefly;

/// A connection to some node.
pub(crate) struct Talk {
    nodes: u32,
    /// What is said first on every connection.
    greeting: Vec<Cmd>,
    connection: Option<Connection>,
    /// The node that is asked.
    pub(crate) node: u32,
    pub(crate) rng: ChaCha8Rng,
}

/// What `R.GET` answers.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) values: Vec<String>,
    pub(crate) timestamp: Option<u64>,
    pub(crate) context: String,
}

impl Talk {
    pub(crate) fn new(nodes: u32, rng: ChaCha8Rng, greeting: Vec<Cmd>) -> Self {
        let mut talk = Self {
            nodes,
            greeting,
            connection: None,
            node: 1,
            rng,
        };
        talk.node = talk.rng.random_range(1..=nodes);
        talk
    }

    /// Goes to another node now and then; connects if that is needed. False if the node cannot be reached:
    /// then nothing was asked.
    pub(crate) fn is_ready(&mut self) -> bool {
        if self.rng.random_bool(0.1) {
            self.move_on();
        }
        if self.connection.is_none() {
            self.connection = self.greet().ok();
        }
        if self.connection.is_none() {
            self.move_on();
            std::thread::sleep(Duration::from_millis(5));
            return false;
        }
        true
    }

    fn greet(&self) -> RedisResult<Connection> {
        let mut connection = connect_briefly(self.node)?;
        for command in &self.greeting {
            command.exec(&mut connection)?;
        }
        Ok(connection)
    }

    /// Asks another node from now on.
    pub(crate) fn move_on(&mut self) {
        self.connection = None;
        self.node = self.rng.random_range(1..=self.nodes);
    }

    /// Replaces what is said first on every connection.
    pub(crate) fn greet_with(&mut self, greeting: Vec<Cmd>) {
        self.greeting = greeting;
    }

    /// Asks. After an error the node may have done what was asked, or may do it later; another is asked next.
    pub(crate) fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        let Some(connection) = &mut self.connection else {
            return Err(RedisError::from((ErrorKind::Client, "not connected")));
        };
        let answer = command.query(connection);
        if answer.is_err() {
            self.move_on();
        }
        answer
    }

    /// Asks several things at once, in order.
    pub(crate) fn ask_all(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let Some(connection) = &mut self.connection else {
            return Err(RedisError::from((ErrorKind::Client, "not connected")));
        };
        let mut pipeline = redis::pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answer = pipeline.query(connection);
        if answer.is_err() {
            self.move_on();
        }
        answer
    }
}

impl Shown {
    /// Reads an answer of `R.GET`.
    pub(crate) fn read(answer: Value) -> RedisResult<Self> {
        let mut fields: HashMap<String, Value> = redis::from_redis_value(answer)?;
        let mut field = |name| fields.remove(name).unwrap_or(Value::Nil);
        let timestamp: Option<String> = redis::from_redis_value(field("timestamp"))?;
        Ok(Self {
            values: redis::from_redis_value(field("values"))?,
            timestamp: timestamp.map(|text| text.parse().expect("a number")),
            context: redis::from_redis_value(field("context"))?,
        })
    }
}

/// `R.GET key LEVEL level`
pub(crate) fn get(key: &str, level: &str) -> Cmd {
    let mut command = cmd("R.GET");
    command.arg(key).arg("LEVEL").arg(level);
    command
}

/// `R.PUT key value LEVEL level`
pub(crate) fn put(key: &str, value: &str, level: &str) -> Cmd {
    let mut command = cmd("R.PUT");
    command.arg(key).arg(value).arg("LEVEL").arg(level);
    command
}

/// `R.DEL key LEVEL level`
pub(crate) fn delete(key: &str, level: &str) -> Cmd {
    let mut command = cmd("R.DEL");
    command.arg(key).arg("LEVEL").arg(level);
    command
}

/// Nanoseconds since the test began, for all of its clients.
pub(crate) fn now(origin: Instant) -> u64 {
    origin.elapsed().as_nanos() as u64
}
