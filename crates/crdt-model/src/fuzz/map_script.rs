//! The map beside its model, on scripts made from bytes.

use crate::kind::{Lww, Mv};
use crate::script::Script;
use crate::world::run;

/// Plays a script made from the bytes, with both kinds of cells.
///
/// # Panics
/// If a check fails, with the script that shows it.
pub fn map_script(bytes: &[u8]) {
    let script = Script::from_bytes(bytes);
    let results = [run::<Lww>(&script), run::<Mv>(&script)];
    if let Some(error) = results.into_iter().find_map(Result::err) {
        panic!("{error}\n{script:#?}");
    }
}
