//! What users of Redis expect and this store does not do, and why. The one place that says so:
//! docs/commands.md has the same table, and a test compares them.

use super::quoted;
use crate::resp::reply::Reply;

/// Commands, subcommands and options that are refused for the same reason.
pub(super) struct Refused {
    /// Their names: a command, or a command with its subcommand or option.
    pub(super) names: &'static [&'static str],
    /// Why they are refused.
    pub(super) reason: &'static str,
}

/// All that is refused with a reason.
pub(super) static REFUSED: &[Refused] = &[
    Refused {
        names: &[
            "EXPIRE",
            "PEXPIRE",
            "EXPIREAT",
            "PEXPIREAT",
            "EXPIRETIME",
            "PEXPIRETIME",
            "TTL",
            "PTTL",
            "PERSIST",
            "SETEX",
            "PSETEX",
            "GETEX",
            "SET EX",
            "SET PX",
            "SET EXAT",
            "SET PXAT",
            "SET KEEPTTL",
        ],
        reason: "keys do not expire: nodes whose clocks differ would not agree on what is gone",
    },
    Refused {
        names: &[
            "SETNX",
            "MSETNX",
            "SET NX",
            "SET XX",
            "SET IFEQ",
            "SET IFNE",
            "SET IFDEQ",
            "SET IFDNE",
            "DELEX",
        ],
        reason: "without consensus two clients would both find the condition met and both succeed",
    },
    Refused {
        names: &[
            "GETSET", "GETDEL", "SET GET", "APPEND", "SETRANGE", "SETBIT", "BITFIELD", "BITOP",
        ],
        reason: "it reads and then writes: of two clients at the same time one would undo the other",
    },
    Refused {
        names: &["INCRBYFLOAT"],
        reason: "counters are integers: sums of fractions depend on their order",
    },
    Refused {
        names: &[
            "GETRANGE",
            "SUBSTR",
            "GETBIT",
            "BITCOUNT",
            "BITPOS",
            "BITFIELD_RO",
            "LCS",
        ],
        reason: "values are read as a whole: GET and cut",
    },
    Refused {
        names: &["RENAME", "RENAMENX", "COPY", "MOVE", "SWAPDB", "SMOVE"],
        reason: "it changes two keys in one step, and each key is replicated by itself",
    },
    Refused {
        names: &[
            "SINTER",
            "SINTERCARD",
            "SINTERSTORE",
            "SUNION",
            "SUNIONSTORE",
            "SDIFF",
            "SDIFFSTORE",
        ],
        reason: "it reads several keys in one step, and each key is replicated by itself: combine \
                 the answers of SMEMBERS",
    },
    Refused {
        names: &["SPOP"],
        reason: "two nodes would hand out the same member",
    },
    Refused {
        names: &["SSCAN", "SRANDMEMBER"],
        reason: "sets are read as a whole: SMEMBERS",
    },
    Refused {
        names: &["KEYS", "RANDOMKEY"],
        reason: "keys are listed by SCAN, a bounded page at a time",
    },
    Refused {
        names: &[
            "LPUSH",
            "LPUSHX",
            "RPUSH",
            "RPUSHX",
            "LPOP",
            "RPOP",
            "LLEN",
            "LRANGE",
            "LINDEX",
            "LSET",
            "LINSERT",
            "LREM",
            "LTRIM",
            "LPOS",
            "LMOVE",
            "LMPOP",
            "RPOPLPUSH",
            "BLPOP",
            "BRPOP",
            "BLMOVE",
            "BLMPOP",
            "BRPOPLPUSH",
        ],
        reason: "there are no lists: a position is not the same on two nodes that both insert",
    },
    Refused {
        names: &[
            "HSET",
            "HSETNX",
            "HMSET",
            "HGET",
            "HMGET",
            "HGETALL",
            "HDEL",
            "HEXISTS",
            "HINCRBY",
            "HINCRBYFLOAT",
            "HKEYS",
            "HVALS",
            "HLEN",
            "HSTRLEN",
            "HSCAN",
            "HRANDFIELD",
            "HEXPIRE",
            "HTTL",
            "HPERSIST",
        ],
        reason: "there are no hashes: write a key for each field",
    },
    Refused {
        names: &[
            "ZADD",
            "ZREM",
            "ZINCRBY",
            "ZSCORE",
            "ZMSCORE",
            "ZCARD",
            "ZCOUNT",
            "ZLEXCOUNT",
            "ZRANGE",
            "ZRANGESTORE",
            "ZRANGEBYSCORE",
            "ZRANGEBYLEX",
            "ZREVRANGE",
            "ZREVRANGEBYSCORE",
            "ZREVRANGEBYLEX",
            "ZRANK",
            "ZREVRANK",
            "ZREMRANGEBYRANK",
            "ZREMRANGEBYSCORE",
            "ZREMRANGEBYLEX",
            "ZPOPMIN",
            "ZPOPMAX",
            "BZPOPMIN",
            "BZPOPMAX",
            "ZMPOP",
            "BZMPOP",
            "ZINTER",
            "ZINTERCARD",
            "ZINTERSTORE",
            "ZUNION",
            "ZUNIONSTORE",
            "ZDIFF",
            "ZDIFFSTORE",
            "ZRANDMEMBER",
            "ZSCAN",
            "GEOADD",
            "GEODIST",
            "GEOHASH",
            "GEOPOS",
            "GEORADIUS",
            "GEORADIUSBYMEMBER",
            "GEOSEARCH",
            "GEOSEARCHSTORE",
        ],
        reason: "there are no sorted sets: strings, counters and sets are the types",
    },
    Refused {
        names: &[
            "XADD",
            "XREAD",
            "XREADGROUP",
            "XRANGE",
            "XREVRANGE",
            "XLEN",
            "XDEL",
            "XTRIM",
            "XACK",
            "XCLAIM",
            "XAUTOCLAIM",
            "XPENDING",
            "XGROUP",
            "XINFO",
            "XSETID",
            "PFADD",
            "PFCOUNT",
            "PFMERGE",
        ],
        reason: "there are no streams or sketches: strings, counters and sets are the types",
    },
    Refused {
        names: &["MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"],
        reason: "there are no transactions: each key is replicated by itself",
    },
    Refused {
        names: &[
            "EVAL",
            "EVAL_RO",
            "EVALSHA",
            "EVALSHA_RO",
            "SCRIPT",
            "FCALL",
            "FCALL_RO",
            "FUNCTION",
        ],
        reason: "there are no scripts: they would have to be atomic",
    },
    Refused {
        names: &[
            "SUBSCRIBE",
            "UNSUBSCRIBE",
            "PSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SSUBSCRIBE",
            "SUNSUBSCRIBE",
            "PUBLISH",
            "SPUBLISH",
            "PUBSUB",
            "MONITOR",
            "CLIENT TRACKING",
            "CLIENT CACHING",
        ],
        reason: "it is no message broker",
    },
    Refused {
        names: &[
            "SORT", "SORT_RO", "OBJECT", "DUMP", "RESTORE", "MIGRATE", "MEMORY",
        ],
        reason: "it is about how Redis stores things: `replicad dump` and `replicad load` move data, \
                 and R.EXPLAIN shows how a key stands",
    },
    Refused {
        names: &["ACL"],
        reason: "there are no users beside `default`: one password lets a client do everything",
    },
    Refused {
        names: &["WAIT", "WAITAOF"],
        reason: "a write waits for its level before it is answered: R.LEVEL chooses it",
    },
    Refused {
        names: &[
            "CLUSTER",
            "REPLICAOF",
            "SLAVEOF",
            "ROLE",
            "FAILOVER",
            "SYNC",
            "PSYNC",
            "REPLCONF",
            "ASKING",
            "READONLY",
            "READWRITE",
        ],
        reason: "there is no primary and there are no slots: any node takes any command, and REPLICAD \
                 shows the cluster",
    },
    Refused {
        names: &[
            "FLUSHALL",
            "FLUSHDB",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "LASTSAVE",
            "SHUTDOWN",
            "DEBUG",
            "LATENCY",
            "SLOWLOG",
            "MODULE",
            "CONFIG SET",
            "CONFIG REWRITE",
            "CONFIG RESETSTAT",
            "CLIENT KILL",
            "CLIENT LIST",
            "CLIENT PAUSE",
        ],
        reason: "nodes are administered on the command line of their machine, not by clients",
    },
];

/// The refusal of a command, if there is a reason for it.
pub(super) fn command(name: &[u8]) -> Option<Reply> {
    refusal(&quoted(name))
}

/// The refusal of a subcommand or option of a command, if there is a reason for it.
pub(super) fn part(command: &str, part: &[u8]) -> Option<Reply> {
    refusal(&format!("{command} {}", quoted(part)))
}

fn refusal(name: &str) -> Option<Reply> {
    REFUSED.iter().find_map(|refused| {
        let mut names = refused.names.iter();
        let known = names.find(|known| known.eq_ignore_ascii_case(name))?;
        Some(Reply::error(format!(
            "{known} is not supported: {}",
            refused.reason
        )))
    })
}
