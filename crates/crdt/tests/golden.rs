//! Golden files: what this version writes, byte by byte, and what earlier versions wrote.
//!
//! A file that exists is never written again: a change of the bytes of a released version is a
//! break.

use crdt::{
    AddWinsSet, Causal, CausalContext, CausalMap, CausalReplica, Closed, DeltaBuffer, Digest,
    DisableWinsFlag, Dot, DotFun, DotSet, Edit, EnableWinsFlag, Enveloped, Frontier, GCounter,
    GSet, HybridClock, Knowledge, LamportClock, LexicographicPair, Listing, LwwCell, LwwEntry,
    LwwMap, LwwRegister, LwwSet, MapOf, MapReplica, Max, Min, MvCell, MvRegister, ObjectId, OrMap,
    OwnerView, Packet, Pair, PnCounter, Promise, Promises, ReadContext, RemoveWinsSet, ReplicaId,
    Report, ResettableCounter, Stability, Timestamp, TwoPhaseSet, VersionVector, decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the version that is written now.
const CURRENT: &str = "v2";
/// No golden file is larger.
const LIMIT: usize = 4_096;
/// Bytes of an envelope before its payload: magic, version, kind and shape.
const HEADER: usize = 11;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(300);

type Decodes = dyn Fn(&Path) -> Result<(), String>;

/// A value with its two encodings, and what decodes them.
struct Row {
    name: &'static str,
    binary: Vec<u8>,
    json: String,
    decodes: Box<Decodes>,
}

fn row<T>(name: &'static str, value: T) -> Row
where
    T: Enveloped + Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    let mut json = serde_json::to_string_pretty(&value).expect("values encode");
    json.push('\n');
    Row {
        name,
        binary: encode(&value).expect("values encode"),
        json,
        decodes: Box::new(move |path| {
            let bytes = fs::read(path).map_err(|e| e.to_string())?;
            let decoded = match path.extension().and_then(|e| e.to_str()) {
                Some("bin") => decode::<T>(&bytes, LIMIT).map_err(|e| e.to_string())?,
                Some("json") => serde_json::from_slice(&bytes).map_err(|e| e.to_string())?,
                _ => return Err("neither binary nor JSON".into()),
            };
            match decoded == value {
                true => Ok(()),
                false => Err(format!("decodes as {decoded:?}, not as {value:?}")),
            }
        }),
    }
}

/// One value of every type: a new type is a line here.
fn table() -> Vec<Row> {
    vec![
        row("version_vector", vector()),
        row("causal_context", context()),
        row("lamport_clock", LamportClock::starting_after(Timestamp(9))),
        row("hybrid_clock", hybrid_clock()),
        row("digest", object(add_wins).digest()),
        row("knowledge", siblings_map().knowledge().clone()),
        row("causal_map_lww", lww_map()),
        row("causal_map_mv", siblings_map()),
        row("listing_key", key_listing()),
        row("listing_interval", interval_listing()),
        row("owner_view", owner_view()),
        row("promises", promises()),
        row("closed", closed()),
        row("dot_set", object(dot_set)),
        row("dot_fun", object(dot_fun)),
        row("mv_cell", object(multi_value)),
        row("lww_cell", object(last_writer_wins)),
        row("add_wins_set", object(add_wins)),
        row("or_map", object(map_of_sets)),
        row("packet", packet()),
        row("remove_wins_set", object(remove_wins)),
        row("enable_wins_flag", object(enable_wins)),
        row("disable_wins_flag", object(disable_wins)),
        row("resettable_counter", object(resettable)),
        row("siblings", object(put)),
        row("pair_of_stores", object(record)),
        row("report", reporter().report()),
        row("stability", stability()),
        row("frontier", frontier()),
        row("read_context", reporter().read_context()),
        row("lww_register", lww_register()),
        row("mv_register", mv_register()),
        row("g_counter", g_counter(3)),
        row("pn_counter", pn_counter()),
        row("g_set", g_set()),
        row("two_phase_set", two_phase_set()),
        row("lww_map", plain_map()),
        row("lww_set", lww_set()),
        row("max", Max::of(300_u32)),
        row("min", Min::of(300_u32)),
        row(
            "pair",
            Pair {
                first: g_counter(3),
                second: g_set(),
            },
        ),
        row(
            "lexicographic_pair",
            LexicographicPair::of(300_u32, g_set()),
        ),
        row("map_of", map_of_counters()),
    ]
}

fn vector() -> VersionVector {
    [(A, 3), (B, 1_000)].into_iter().collect()
}

fn context() -> CausalContext {
    let dots = [
        (A, 1),
        (A, 2),
        (A, 3),
        (A, 5),
        (ReplicaId(7), 4),
        (B, 1_000),
    ];
    dots.map(|(r, c)| Dot::new(r, c)).into_iter().collect()
}

fn hybrid_clock() -> HybridClock {
    let mut clock = HybridClock::new(7, 60_000).expect("a valid slot");
    clock.resume(Timestamp(u64::MAX / 3));
    clock
}

fn owner_view() -> OwnerView {
    let mut view = OwnerView::default();
    for (position, replica) in [(0, A), (0, ReplicaId(11)), (1, B)] {
        view.record(position, replica);
    }
    view
}

fn promises() -> Promises {
    let mut promises = Promises::default();
    let (time, counter) = (Timestamp(300), 2);
    promises.record(B, Promise { time, counter });
    promises
}

/// Of two closed writers, one of which has left something.
fn closed() -> Closed {
    let mut closed = Closed::default();
    closed.record(A, &context());
    closed.record(ReplicaId(11), &context());
    closed
}

type Siblings = MapReplica<String, MvCell<String>>;

/// Two replicas that wrote concurrently, and the first of two writes of one of them lost.
fn siblings() -> Siblings {
    let (mut a, mut b) = (Siblings::new(A), Siblings::new(B));
    let tea = a.write("drink".into(), |cell, dot| cell.write(dot, "tea".into()));
    let _lost = b.write("food".into(), |cell, dot| cell.write(dot, "rice".into()));
    let coffee = b.write("drink".into(), |cell, dot| cell.write(dot, "coffee".into()));
    let mut c = Siblings::new(ReplicaId(2));
    for written in [&tea, &coffee] {
        c.join(&written.listing).expect("identities are unique");
    }
    c
}

fn siblings_map() -> CausalMap<String, MvCell<String>> {
    siblings().map().clone()
}

fn lww_map() -> CausalMap<String, LwwCell<u32>> {
    let mut a = MapReplica::new(A);
    for (key, time, value) in [("a", 500, Some(7)), ("b", 501, Some(8)), ("b", 502, None)] {
        let _written = a.write(key.to_owned(), |cell: &mut LwwCell<u32>, dot| {
            let timestamp = Timestamp(time);
            cell.write(LwwEntry {
                dot,
                timestamp,
                value,
            });
        });
    }
    a.map().clone()
}

fn key_listing() -> Listing<String, MvCell<String>> {
    siblings().list_key("drink".into())
}

fn interval_listing() -> Listing<String, MvCell<String>> {
    let budget = crdt::Budget {
        events: 10,
        bytes: 100,
    };
    let chunk = siblings().transfer_chunk(&crdt::Cut::BelowAll, budget, |_, _| 1);
    let with_cells = |l: &Listing<_, _>| matches!(l, Listing::Interval(l) if !l.cells().is_empty());
    let listing = chunk.listings.into_iter().find(with_cells);
    listing.expect("the map is not empty")
}

/// A state in which two replicas made the same changes concurrently, one of them knowing a third
/// event that it has removed again.
fn object<S: crdt::DotStore>(change: fn(&mut Edit<'_, S>, u8)) -> Causal<S> {
    let mut a = CausalReplica::<S>::new(ObjectId(1), A);
    let mut b = CausalReplica::<S>::new(ObjectId(1), B);
    let (first, second) = (a.change(|s| change(s, 1)), a.change(|s| change(s, 2)));
    let other = b.change(|s| change(s, 3));
    for delta in [first, second, other] {
        a.join(&delta).expect("identities are unique");
    }
    a.state().clone()
}

fn dot_set(set: &mut Edit<'_, DotSet>, _: u8) {
    set.replace();
}

fn dot_fun(fun: &mut Edit<'_, DotFun<String>>, n: u8) {
    fun.replace(n.to_string());
}

fn multi_value(cell: &mut Edit<'_, MvCell<String>>, n: u8) {
    cell.set(n.to_string());
}

fn last_writer_wins(cell: &mut Edit<'_, LwwCell<String>>, n: u8) {
    cell.write(Timestamp(n.into()), Some(n.to_string()));
}

fn add_wins(set: &mut Edit<'_, AddWinsSet<String>>, n: u8) {
    set.add((n % 2).to_string());
    set.add(n.to_string());
}

fn map_of_sets(map: &mut Edit<'_, OrMap<String, AddWinsSet<String>>>, n: u8) {
    map.update("both".into(), |set| set.add(n.to_string()));
    map.update(n.to_string(), |set| set.add(n.to_string()));
    map.remove("2");
}

fn remove_wins(set: &mut Edit<'_, RemoveWinsSet<String>>, n: u8) {
    set.add(n.to_string());
    set.remove((n % 2).to_string());
}

fn enable_wins(flag: &mut Edit<'_, EnableWinsFlag>, _: u8) {
    flag.enable();
}

fn disable_wins(flag: &mut Edit<'_, DisableWinsFlag>, _: u8) {
    flag.disable();
}

fn resettable(counter: &mut Edit<'_, ResettableCounter>, n: u8) {
    counter.add(i64::from(n) - 2);
    counter.add(300);
}

fn put(siblings: &mut Edit<'_, crdt::Siblings<String>>, n: u8) {
    let put = siblings.put(n.to_string(), 2);
    put.expect("the author has seen all siblings");
}

fn record(record: &mut Edit<'_, (MvCell<String>, AddWinsSet<String>)>, n: u8) {
    multi_value(&mut record.first(), n);
    add_wins(&mut record.second(), n);
}

/// A replica that knows three events, one of which another has made obsolete.
fn reporter() -> CausalReplica<DotSet> {
    CausalReplica::restore(ObjectId(7), ReplicaId(9), object(dot_set))
}

fn stability() -> Stability {
    let mut stability = Stability::new([A, ReplicaId(9)]);
    stability.report(&reporter().report());
    stability
}

/// Of a replica that has reported, and has purged what another has reported too.
fn frontier() -> Frontier {
    let mut a = CausalReplica::<RemoveWinsSet<u8>>::new(ObjectId(7), A);
    let _removed = a.change(|set| set.remove(1));
    let mut stability = Stability::new([A]);
    stability.report(&a.report());
    let _purged = a.purge(&stability).expect("the only member has reported");
    let _added = a.change(|set| set.add(2));
    let _report = a.report();
    a.frontier().clone()
}

fn lww_register() -> LwwRegister<String> {
    let mut register = LwwRegister::default();
    let _delta = register.write(Timestamp(300), "tea".to_owned());
    register
}

fn mv_register() -> MvRegister<String> {
    let mut register = MvRegister::default();
    let clocks = [[(A, 2), (B, 1)], [(A, 1), (B, 300)]];
    for (clock, value) in clocks.into_iter().zip(["tea", "rice"]) {
        let _delta = register.write_at(clock.into_iter().collect(), value.to_owned());
    }
    register
}

fn g_counter(by: u64) -> GCounter {
    let mut counter = GCounter::default();
    for (replica, by) in [(A, by), (B, 1_000)] {
        let _delta = counter.increment(replica, by).expect("counts are small");
    }
    counter
}

fn pn_counter() -> PnCounter {
    let mut counter = PnCounter::default();
    let _up = counter.increment(A, 300).expect("counts are small");
    let _down = counter.decrement(B, 2).expect("counts are small");
    counter
}

fn g_set() -> GSet<String> {
    ["rice", "tea"].map(str::to_owned).into_iter().collect()
}

fn two_phase_set() -> TwoPhaseSet<String> {
    let mut set = TwoPhaseSet::default();
    let _deltas = ["rice", "tea"].map(|element| set.insert(element.to_owned()));
    let _delta = set.remove("rice".to_owned());
    set
}

fn plain_map() -> LwwMap<String, u32> {
    let mut map = LwwMap::default();
    let _deltas =
        [("a", 7), ("b", 300)].map(|(key, n)| map.insert(key.to_owned(), n, Timestamp(5)));
    let _delta = map.remove("a".to_owned(), Timestamp(300));
    map
}

fn lww_set() -> LwwSet<String> {
    let mut set = LwwSet::default();
    let _deltas = ["rice", "tea"].map(|element| set.insert(element.to_owned(), Timestamp(5)));
    let _delta = set.remove("rice".to_owned(), Timestamp(300));
    set
}

fn map_of_counters() -> MapOf<String, GCounter> {
    let entries = [("a", 3), ("b", 300)];
    let entries = entries.map(|(key, by)| (key.to_owned(), g_counter(by)));
    entries.into_iter().collect()
}

fn packet() -> Packet<Causal<AddWinsSet<String>>> {
    let mut a = CausalReplica::<AddWinsSet<String>>::new(ObjectId(1), A);
    let mut buffer = DeltaBuffer::new(a.state(), 10);
    buffer.push(a.change(|set| add_wins(set, 1)));
    buffer.packet_for(B, a.state()).expect("a new delta")
}

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(version)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of golden files");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn this_version_writes_the_golden_bytes() {
    for row in table() {
        let (name, folder) = (row.name, folder(CURRENT));
        let binary = fs::read(folder.join(format!("{name}.bin")));
        assert_eq!(binary.ok(), Some(row.binary), "{name}.bin");
        let json = fs::read_to_string(folder.join(format!("{name}.json")));
        assert_eq!(json.ok(), Some(row.json), "{name}.json");
    }
}

#[test]
fn every_golden_file_of_every_version_decodes_to_the_same_state() {
    let table = table();
    for version in entries(&folder("")) {
        let paths = entries(&version);
        assert!(!paths.is_empty(), "{version:?} is empty");
        for path in paths {
            let stem = path.file_stem().and_then(|s| s.to_str());
            let row = table.iter().find(|row| Some(row.name) == stem);
            let row = row.unwrap_or_else(|| panic!("{path:?} is not in the table"));
            let decoded = (row.decodes)(&path);
            assert_eq!(decoded, Ok(()), "{path:?}");
        }
    }
}

#[test]
fn every_type_has_one_line_in_the_table() {
    let names: Vec<&str> = table().iter().map(|row| row.name).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(distinct.len(), names.len());
}

/// Writes the files that do not exist yet, and no others.
#[test]
#[ignore = "writes files; run it after adding a line to the table"]
fn write_missing_golden_files() {
    let folder = folder(CURRENT);
    fs::create_dir_all(&folder).expect("the folder of golden files");
    for row in table() {
        let parts = [("bin", row.binary), ("json", row.json.into_bytes())];
        for (extension, bytes) in parts {
            let path = folder.join(format!("{}.{extension}", row.name));
            if !path.exists() {
                fs::write(path, bytes).expect("the file is written");
            }
        }
    }
}

/// Decodes every prefix of every golden file, and each with a huge length in place of each byte: an
/// error or a value, never a panic, and no memory for what is not there.
#[test]
fn damaged_envelopes_never_panic() {
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    fn decodes<T: Enveloped + DeserializeOwned>(bytes: &[u8]) -> bool {
        decode::<T>(bytes, LIMIT).is_ok()
    }
    type Map = CausalMap<String, MvCell<String>>;
    type Object = Causal<OrMap<String, AddWinsSet<String>>>;
    for row in table() {
        for at in HEADER..row.binary.len() {
            let prefix = &row.binary[..at];
            let boasting = [prefix, &huge, &row.binary[at + 1..]].concat();
            for bytes in [prefix, &boasting] {
                // Each refuses the kinds of the others.
                let results = [
                    decodes::<VersionVector>(bytes),
                    decodes::<CausalContext>(bytes),
                    decodes::<Digest>(bytes),
                    decodes::<Knowledge<String>>(bytes),
                    decodes::<Map>(bytes),
                    decodes::<Listing<String, MvCell<String>>>(bytes),
                    decodes::<OwnerView>(bytes),
                    decodes::<Promises>(bytes),
                    decodes::<Closed>(bytes),
                    decodes::<Causal<DotFun<String>>>(bytes),
                    decodes::<Object>(bytes),
                    decodes::<Packet<Causal<AddWinsSet<String>>>>(bytes),
                    decodes::<Causal<RemoveWinsSet<String>>>(bytes),
                    decodes::<Causal<EnableWinsFlag>>(bytes),
                    decodes::<Causal<DisableWinsFlag>>(bytes),
                    decodes::<Causal<ResettableCounter>>(bytes),
                    decodes::<Causal<crdt::Siblings<String>>>(bytes),
                    decodes::<Causal<(MvCell<String>, AddWinsSet<String>)>>(bytes),
                    decodes::<Report>(bytes),
                    decodes::<Stability>(bytes),
                    decodes::<Frontier>(bytes),
                    decodes::<ReadContext<DotSet>>(bytes),
                    decodes::<LwwRegister<String>>(bytes),
                    decodes::<MvRegister<String>>(bytes),
                    decodes::<GCounter>(bytes),
                    decodes::<PnCounter>(bytes),
                    decodes::<GSet<String>>(bytes),
                    decodes::<TwoPhaseSet<String>>(bytes),
                    decodes::<LwwMap<String, u32>>(bytes),
                    decodes::<LwwSet<String>>(bytes),
                    decodes::<Max<u32>>(bytes),
                    decodes::<Min<u32>>(bytes),
                    decodes::<Pair<GCounter, GSet<String>>>(bytes),
                    decodes::<LexicographicPair<u32, GSet<String>>>(bytes),
                    decodes::<MapOf<String, GCounter>>(bytes),
                ];
                let accepted = results.iter().filter(|r| **r).count();
                assert!(accepted <= 1, "{bytes:02x?}");
                if bytes == prefix {
                    assert_eq!(accepted, 0, "{bytes:02x?}");
                }
            }
        }
    }
}

/// What travels reads well in logs.
#[test]
fn reports_contexts_and_packets_name_their_events() {
    let digest = "<1:0+2, 300:1> of <1:2, 300:1>";
    assert_eq!(reporter().report().to_string(), format!("9: {digest}"));
    assert_eq!(
        stability().to_string(),
        format!("{{1: <> of <>, 9: {digest}}}")
    );
    assert_eq!(frontier().to_string(), "reported <1:2>, purged <1:1>");
    let read = reporter().read_context().to_string();
    assert_eq!(read, "<1:2, 300:1> of object 7");
    assert_eq!(packet().to_string(), "1..1: {1} <1:2>");
}
