//! The keys of the node asked: SCAN and DBSIZE.
//!
//! Both read the local replica only, so they may lag behind a quorum. A full SCAN goes through the
//! keys in order and resumes behind the last key it returned; hence a key that is there from its
//! first call to its last is returned exactly once.

use bytes::Bytes;
use std::sync::Arc;

use super::errors::request_error;
use super::keys::type_name;
use super::table::{Keys, READ, READ_MUCH, Spec, command};
use super::{Session, Shared, Started, glob, is, number, quoted};
use crate::resp::reply::Reply;
use crate::store::ScannedKey;

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "SCAN cursor [MATCH pattern] [COUNT n] [TYPE type]",
        -2,
        READ_MUCH,
        Keys::NONE,
        "generic",
        "Iterates over the keys of the node asked, in key order.",
        scan,
    ),
    command(
        "DBSIZE",
        1,
        READ,
        Keys::NONE,
        "server",
        "Counts the keys of the node asked.",
        dbsize,
    ),
];

/// Keys looked at by one call without `COUNT`, as in Redis.
const DEFAULT_COUNT: usize = 10;
/// Keys looked at by one call at most: `COUNT` is a hint, and a reply is built in memory.
const MAX_COUNT: usize = 1000;

struct ScanOptions {
    pattern: Option<Bytes>,
    count: usize,
    /// The only type that is wanted.
    of_type: Option<Bytes>,
}

fn scan(session: &mut Session, arguments: &[Bytes]) -> Started {
    match start_scan(session, arguments) {
        Ok(started) => started,
        Err(refused) => refused.into(),
    }
}

fn start_scan(session: &Session, arguments: &[Bytes]) -> Result<Started, Reply> {
    let cursor = number(&arguments[0]).ok_or_else(|| Reply::error("invalid cursor"))?;
    let options = scan_options(&arguments[1..])?;
    let after = match cursor {
        0 => None,
        _ => Some(session.shared.cursors.resume(cursor).ok_or_else(|| {
            Reply::error(
                "invalid cursor: it is not of this node, or too many scans were started since; \
                 start again from 0",
            )
        })?),
    };
    let page = session.backend().scan(after, options.count);
    let shared = Arc::clone(&session.shared);
    Ok(Started::waiting(async move {
        match page.await {
            Ok(keys) => scan_reply(&shared, cursor, &options, keys),
            Err(error) => request_error(&error),
        }
    }))
}

fn scan_reply(
    shared: &Shared,
    cursor: u64,
    options: &ScanOptions,
    mut keys: Vec<ScannedKey>,
) -> Reply {
    let next = match keys.last() {
        Some(last) if keys.len() >= options.count => shared.cursors.insert(&last.key, cursor),
        _ => 0,
    };
    let matches = |key: &Bytes| {
        options
            .pattern
            .as_ref()
            .is_none_or(|pattern| glob::matches(pattern, key))
    };
    let is_of_type = |found: &ScannedKey| {
        let name = type_name(found.contents);
        let wanted = options.of_type.as_ref();
        wanted.is_none_or(|wanted| name.is_some_and(|name| is(wanted, name)))
    };
    keys.retain(|found| matches(&found.key) && is_of_type(found));
    let keys = keys
        .into_iter()
        .map(|found| Reply::Bulk(found.key))
        .collect();
    Reply::Array(vec![Reply::text(next.to_string()), Reply::Array(keys)])
}

fn scan_options(words: &[Bytes]) -> Result<ScanOptions, Reply> {
    let mut options = ScanOptions {
        pattern: None,
        count: DEFAULT_COUNT,
        of_type: None,
    };
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Reply::error("syntax error"));
    }
    for [name, value] in pairs {
        if is(name, "match") {
            options.pattern = Some(value.clone());
        } else if is(name, "count") {
            let count = number(value).and_then(|count| usize::try_from(count).ok());
            options.count = match count {
                None => return Err(Reply::error("value is not an integer or out of range")),
                Some(0) => return Err(Reply::error("syntax error")),
                Some(count) => count.min(MAX_COUNT),
            };
        } else if is(name, "type") {
            options.of_type = Some(value.clone());
        } else {
            let name = quoted(name);
            return Err(Reply::error(format!(
                "SCAN option is not supported: {name}"
            )));
        }
    }
    Ok(options)
}

fn dbsize(session: &mut Session, _: &[Bytes]) -> Started {
    match session.backend().key_count() {
        Ok(keys) => Reply::count(keys).into(),
        Err(error) => request_error(&error).into(),
    }
}
