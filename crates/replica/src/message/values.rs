//! The values in messages, for transports that move large ones without copying them.
//!
//! A transport that writes a message asks which large values are in it ([`visit_values`]) and writes these from where
//! they are. One that reads a message may leave a large value out when it decodes, and put a slice of what it has
//! received in its place ([`map_values`]). Both go through the values in the order in which they are encoded.

use bytes::Bytes;
use crdt::{IntervalListing, InvalidBytes, KeyListing, Listing};
use std::sync::Arc;

use super::StoreListing;
use crate::{Command, MessageOf, NodeMessage, Outcome, Policy};

/// Shows the values in a message that have at least `least` bytes, as far as the policy passes them through
/// ([`Policy::map_values`]).
pub fn visit_values<P: Policy>(
    message: &MessageOf<P>,
    least: usize,
    visit: &mut dyn FnMut(&Bytes),
) {
    let mut shown = |value: Bytes| {
        if value.len() >= least {
            visit(&value);
        }
        value
    };
    let mut visit_cell = |cell: &P::Cell| {
        if P::weight(cell) >= least {
            let _same = P::map_values(cell.clone(), &mut shown);
        }
    };
    match message {
        NodeMessage::Partition { envelope, .. } => {
            for listing in envelope.message.listings() {
                match listing {
                    Listing::Key(listing) => visit_cell(listing.cell()),
                    Listing::Interval(listing) => {
                        listing
                            .cells()
                            .iter()
                            .for_each(|(_, cell)| visit_cell(cell));
                    }
                }
            }
        }
        NodeMessage::Answer {
            result: Ok(Outcome::Read { cell, .. }),
            ..
        } => visit_cell(cell),
        NodeMessage::Forward { request, .. } => {
            if let Command::Write { write, .. } = &request.command
                && P::size(write) >= least
            {
                let _same = P::map_written(write.clone(), &mut shown);
            }
        }
        _ => {}
    }
}

/// Passes the values in a message through `map`, as far as the policy does.
///
/// # Errors
/// If a policy returns a cell with other events than it was given. The message is changed in part then.
pub fn map_values<P: Policy>(
    message: &mut MessageOf<P>,
    map: &mut dyn FnMut(Bytes) -> Bytes,
) -> Result<(), InvalidBytes> {
    match message {
        NodeMessage::Partition { envelope, .. } => {
            for listing in envelope.message.listings_mut() {
                *listing = mapped::<P>(listing, map)?;
            }
        }
        NodeMessage::Answer {
            result: Ok(Outcome::Read { cell, .. }),
            ..
        } => *cell = P::map_values(std::mem::take(cell), map),
        NodeMessage::Forward { request, .. } => {
            if let Command::Write { write, .. } = &mut request.command {
                *write = P::map_written(write.clone(), map);
            }
        }
        _ => {}
    }
    Ok(())
}

fn mapped<P: Policy>(
    listing: &StoreListing<P::Cell>,
    map: &mut dyn FnMut(Bytes) -> Bytes,
) -> Result<StoreListing<P::Cell>, InvalidBytes> {
    let mut cell = |cell: &P::Cell| P::map_values(cell.clone(), map);
    Ok(match listing {
        Listing::Key(listing) => {
            let (key, claim) = (listing.key().clone(), listing.claim().clone());
            let covered = listing.covered().iter().copied();
            Listing::Key(KeyListing::new(key, cell(listing.cell()), claim, covered)?)
        }
        Listing::Interval(listing) => {
            let cells = listing
                .cells()
                .iter()
                .map(|(key, held)| (key.clone(), cell(held)));
            let (interval, known) = (listing.interval().clone(), Arc::clone(listing.known()));
            Listing::Interval(IntervalListing::new(interval, cells.collect(), known)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Level, Lww, LwwWrite, Message, MultiValue, PartitionId, Request};
    use crdt::{Claim, Dot, Interval, LwwCell, MvCell, ReplicaId, Timestamp};

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId(1), counter)
    }

    fn of_partition<C>(message: Message<C>) -> Envelope<C> {
        Envelope {
            from: None,
            view: Arc::default(),
            clock: Timestamp(1),
            message,
        }
    }

    /// The values of at least `least` bytes, and the message with a mark behind each.
    fn seen<P: Policy>(mut message: MessageOf<P>, least: usize) -> (Vec<Bytes>, MessageOf<P>) {
        let mut seen = Vec::new();
        visit_values::<P>(&message, least, &mut |value| seen.push(value.clone()));
        let mark = |value: Bytes| Bytes::from([&value[..], b"!"].concat());
        map_values::<P>(&mut message, &mut { mark }).expect("events stay as they are");
        (seen, message)
    }

    #[test]
    fn values_of_all_listings_are_passed_through_in_order() {
        let cell = |n, value| LwwCell::entry(dot(n), Timestamp(n), value);
        let known = Arc::new((1..=9).map(dot).collect());
        let message = |values: [&'static str; 3]| {
            let [one, two, three] = values.map(|value| Some(bytes(value)));
            let one = KeyListing::new(bytes("a"), cell(1, one), Claim::Itself, [dot(1)]);
            let none = KeyListing::new(bytes("b"), cell(2, None), Claim::Itself, [dot(2)]);
            let cells = vec![(bytes("c"), cell(3, two)), (bytes("d"), cell(4, three))];
            let rest = IntervalListing::new(Interval::all(), cells, Arc::clone(&known));
            let listings = vec![
                Listing::Key(one.expect("valid")),
                Listing::Key(none.expect("valid")),
                Listing::Interval(rest.expect("valid")),
            ];
            let envelope = of_partition(Message::TransferAnswer {
                from: crdt::Cut::BelowAll,
                listings,
                next: None,
                closed: Arc::default(),
            });
            let partition = PartitionId(0);
            MessageOf::<Lww>::Partition {
                partition,
                envelope,
            }
        };
        let (values, marked) = seen::<Lww>(message(["tea", "coffee", "water"]), 4);
        assert_eq!(values, [bytes("coffee"), bytes("water")]);
        assert_eq!(marked, message(["tea!", "coffee!", "water!"]));
    }

    #[test]
    fn a_listing_that_others_share_is_changed_for_nobody_else() {
        let cell: MvCell<Bytes> = [(dot(1), bytes("tea")), (dot(2), bytes("coffee"))]
            .into_iter()
            .collect();
        let claim = Claim::Context(Arc::new((1..=2).map(dot).collect()));
        let listing = KeyListing::new(bytes("key"), cell, claim, [dot(2)]).expect("valid");
        let shared = Arc::new(Listing::Key(listing));
        let (partition, listing) = (PartitionId(0), Arc::clone(&shared));
        let envelope = of_partition(Message::Repair { listing });
        let message = MessageOf::<MultiValue>::Partition {
            partition,
            envelope,
        };
        let (values, marked) = seen::<MultiValue>(message, 0);
        assert_eq!(values, [bytes("tea"), bytes("coffee")]);
        let values_of = |listing: &StoreListing<MvCell<Bytes>>| match listing {
            Listing::Key(listing) => listing.cell().values().cloned().collect(),
            Listing::Interval(_) => Vec::new(),
        };
        assert_eq!(values_of(&shared), values);
        let NodeMessage::Partition { envelope, .. } = marked else {
            panic!("another kind");
        };
        let marked = values_of(&envelope.message.listings()[0]);
        assert_eq!(marked, [bytes("tea!"), bytes("coffee!")]);
    }

    #[test]
    fn values_of_forwarded_requests_and_answers_are_passed_through() {
        let forward = |value| {
            let write = LwwWrite {
                value: Some(bytes(value)),
                timestamp: None,
            };
            let request = Request::new(Command::write(bytes("key"), write), Level::One);
            MessageOf::<Lww>::Forward {
                number: 1,
                asker: 2,
                life: None,
                request,
            }
        };
        assert_eq!(
            seen::<Lww>(forward("tea"), 0),
            (vec![bytes("tea")], forward("tea!"))
        );
        assert_eq!(seen::<Lww>(forward("tea"), 4), (vec![], forward("tea!")));
        let answer = |value| MessageOf::<Lww>::Answer {
            number: 1,
            result: Ok(Outcome::Read {
                cell: LwwCell::entry(dot(1), Timestamp(1), Some(bytes(value))),
                seen: crate::Floor::default(),
                stable: Arc::default(),
                owners: 1,
                met: crate::Met::default(),
            }),
        };
        assert_eq!(
            seen::<Lww>(answer("tea"), 3),
            (vec![bytes("tea")], answer("tea!"))
        );
        let life = MessageOf::<Lww>::Life { number: 1, life: 2 };
        assert_eq!(seen::<Lww>(life.clone(), 0), (vec![], life));
    }
}
