//! A value that is made of others when it is first needed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use once_cell::race::OnceBox;

/// A value that whoever needs it first makes, without a lock: of several threads that make it at once one
/// wins, and what the others made is dropped. So whatever makes it must make the same each time.
///
/// **Cost.** Asking for it takes one load, or three where it was made by somebody who could only read. A clone copies it.
#[derive(Debug)]
pub(crate) struct Lazy<T> {
    /// Made, or taken over, by one who may change it. Then `shared` is empty.
    owned: Option<Box<T>>,
    /// Made by one who could only read. Counted, though it has one owner, so that it can be moved out again.
    shared: OnceBox<Arc<T>>,
}

impl<T> Lazy<T> {
    /// One that is not made yet.
    pub(crate) const fn new() -> Self {
        Self {
            owned: None,
            shared: OnceBox::new(),
        }
    }

    /// The value, if it was made.
    pub(crate) fn get(&self) -> Option<&T> {
        let owned = self.owned.as_deref();
        owned.or_else(|| self.shared.get().map(|value| &**value))
    }

    /// The value, made if it was not.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        match &self.owned {
            Some(value) => value,
            None => self.shared.get_or_init(|| Box::new(Arc::new(make()))),
        }
    }

    /// As if it was never made.
    pub(crate) fn forget(&mut self) {
        if self.get().is_some() {
            *self = Self::new();
        }
    }
}

impl<T: Clone> Lazy<T> {
    /// The value, if it was made, to be changed.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        if self.owned.is_none() && self.shared.get().is_some() {
            self.take_over();
        }
        self.owned.as_deref_mut()
    }

    /// The value, made if it was not, to be changed.
    pub(crate) fn get_mut_or_make(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if self.owned.is_none() {
            self.take_over();
        }
        self.owned.get_or_insert_with(|| Box::new(make()))
    }

    /// Moves what was made by one who could only read.
    #[cold]
    fn take_over(&mut self) {
        let value = self.shared.get().cloned();
        // From here on it has one owner.
        self.shared = OnceBox::new();
        self.owned = value.map(|value| Box::new(Arc::unwrap_or_clone(value)));
    }
}

impl<T: Clone> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self {
            owned: self.get().map(|value| Box::new(value.clone())),
            shared: OnceBox::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once_and_changed_in_place_however_it_was_made() {
        let mut lazy = Lazy::new();
        assert_eq!(lazy.get(), None);
        assert_eq!(lazy.get_mut(), None);
        assert_eq!(*lazy.get_or_make(|| 1), 1);
        assert_eq!(*lazy.get_or_make(|| 2), 1, "it was made");
        *lazy.get_mut_or_make(|| 3) += 10;
        assert_eq!(lazy.clone().get(), Some(&11));
        assert_eq!(*lazy.get_or_make(|| 4), 11, "it was taken over");
        *lazy.get_mut().expect("it was made") += 1;
        assert_eq!(lazy.get(), Some(&12));
        lazy.forget();
        assert_eq!(lazy.get(), None);
        assert_eq!(*lazy.get_mut_or_make(|| 5), 5);
    }

    #[test]
    fn what_a_reader_has_made_is_moved_and_not_copied() {
        #[derive(Debug)]
        struct Counted<'a>(&'a core::cell::Cell<u32>);
        impl Clone for Counted<'_> {
            fn clone(&self) -> Self {
                self.0.set(self.0.get() + 1);
                Self(self.0)
            }
        }
        let copies = core::cell::Cell::new(0);
        let mut lazy = Lazy::new();
        lazy.get_or_make(|| Counted(&copies));
        lazy.get_mut().expect("it was made");
        assert_eq!(copies.get(), 0);
        let mut copy = lazy.clone();
        copy.get_mut().expect("it was made");
        assert_eq!(copies.get(), 1, "for the clone alone");
    }

    #[test]
    fn threads_that_make_it_at_once_see_one_value() {
        let lazy = Lazy::new();
        let seen = std::thread::scope(|threads| {
            let ask = |n: usize| {
                threads.spawn({
                    let lazy = &lazy;
                    move || *lazy.get_or_make(|| n)
                })
            };
            [1, 2, 3, 4]
                .map(ask)
                .map(|thread| thread.join().expect("no panic"))
        });
        assert!(
            seen.iter().all(|value| Some(value) == lazy.get()),
            "{seen:?}"
        );
    }
}
