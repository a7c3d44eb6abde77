//! Scripts of the law kit, for every replicated type.

use arbitrary::{Arbitrary as _, Unstructured};
use crdt::laws::{LawViolation, Script, check_script};
use crdt::*;

type Check = fn(&Script) -> Result<(), LawViolation>;

macro_rules! checks {
    ($($name:ident: $subject:ty, $choices:expr;)*) => {
        &[$((stringify!($name), check_script::<$subject> as Check)),*]
    };
}

/// The table of all types: a new one goes to its end, so that inputs keep their meaning.
const CHECKS: &[(&str, Check)] = crate::subjects!(checks);

/// Plays a script on the replicas of a type and checks its specification and all laws.
///
/// The first byte chooses the type, from the same table as the tests; the others are the script, by `arbitrary`.
///
/// # Panics
/// If a law does not hold, with the script that shows it.
pub fn laws(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else {
        return;
    };
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(bytes)) else {
        return;
    };
    let (name, check) = CHECKS[usize::from(first) % CHECKS.len()];
    check(&script).unwrap_or_else(|violation| panic!("{name}: {violation}"));
}
