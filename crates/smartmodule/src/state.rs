//! What `init` leaves for the records.

use std::sync::OnceLock;

use crate::{Error, Result};

/// A static that `init` sets and the other functions read.
///
/// ```
/// # use gristmill_smartmodule::State;
/// static LIMIT: State<u32> = State::new();
/// assert!(LIMIT.get().is_err());
/// LIMIT.set(3).unwrap();
/// assert_eq!(*LIMIT.get().unwrap(), 3);
/// ```
#[derive(Debug)]
pub struct State<T> {
    value: OnceLock<T>,
}

impl<T> State<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            value: OnceLock::new(),
        }
    }

    /// Keep `value`.
    ///
    /// # Errors
    /// There is one already.
    pub fn set(&self, value: T) -> Result<()> {
        self.value
            .set(value)
            .map_err(|_| Error::new("initialised twice"))
    }

    /// What was kept.
    ///
    /// # Errors
    /// Nothing was: the host did not call `init`.
    #[inline]
    pub fn get(&self) -> Result<&T> {
        self.value
            .get()
            .ok_or_else(|| Error::new("not initialised: the host did not call `init`"))
    }

    /// What was kept, else what `otherwise` gives, from then on: hosts may leave `init` out where
    /// there are no parameters.
    #[inline]
    pub fn get_or(&self, otherwise: impl FnOnce() -> T) -> &T {
        self.value.get_or_init(otherwise)
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self::new()
    }
}
