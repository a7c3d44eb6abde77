//! What arrives, in which order, and what happens when a peer goes and comes back.

use super::*;

#[tokio::test]
async fn messages_arrive_both_ways_in_order_on_both_lanes() {
    let ([a, b], [at_a, at_b]) = pair().await;
    let large = a.shared.options.limits.large_frame_bytes;
    for number in 0..2_000_u32 {
        a.send(NodeId(2), Bytes::copy_from_slice(&number.to_be_bytes()));
        b.send(NodeId(1), Bytes::copy_from_slice(&number.to_be_bytes()));
    }
    for number in 0..20_u8 {
        a.send(NodeId(2), vec![number; large + usize::from(number)].into());
    }
    let (mut small, mut long) = (0_u32, 0_u8);
    while small < 2_000 || long < 20 {
        let (from, frame) = next(&at_b.messages).await;
        assert_eq!(from, NodeId(1));
        if frame.len() == 4 {
            assert_eq!(frame, small.to_be_bytes()[..]);
            small += 1;
        } else {
            assert_eq!(frame, vec![long; large + usize::from(long)]);
            long += 1;
        }
    }
    for number in 0..2_000_u32 {
        assert_eq!(next(&at_a.messages).await.1, number.to_be_bytes()[..]);
    }
    let (_, sent) = a.peers().next().expect("a peer");
    until("all is counted", || {
        sent.small.frames_sent.load(Relaxed) == 2_000
    })
    .await;
    until("all is counted", || {
        sent.large.frames_sent.load(Relaxed) == 20
    })
    .await;
    assert_eq!(sent.small.bytes_sent.load(Relaxed), 2_000 * 8);
    assert_eq!(sent.small.queued_bytes.load(Relaxed), 0);
    assert_eq!(sent.small.dropped_full.load(Relaxed), 0);
    let (_, received) = b.peers().next().expect("a peer");
    until("all is counted", || {
        received.frames_received.load(Relaxed) == 2_020
    })
    .await;
    a.stop().await;
    b.stop().await;
}
