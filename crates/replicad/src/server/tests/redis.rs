//! The front end answers as Redis does.

use super::differential::{Redis, Resp, compare, seeds};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_front_end_answers_as_redis_does() {
    for seed in seeds(&[1, 2, 3]) {
        for resp in [Resp::Two, Resp::Three] {
            let Some(redis) = Redis::start() else { return };
            let served = Served::new(Limits::default()).await;
            let (ours, theirs) = (served.address, redis.address);
            let compare = move || compare(ours, theirs, resp, seed, 3_000);
            let comparing = tokio::task::spawn_blocking(compare);
            comparing.await.expect("the replies are the same");
        }
    }
}
