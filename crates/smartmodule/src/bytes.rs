//! What can be a key or a value.

use std::borrow::Cow;

/// Bytes, borrowed or owned: what a key or a value is made of.
pub trait Bytes {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

impl Bytes for [u8] {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Bytes for str {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<const N: usize> Bytes for [u8; N] {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Bytes for Vec<u8> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Bytes for String {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<T: Bytes + ?Sized> Bytes for &T {
    #[inline]
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

impl<T: Bytes + ToOwned + ?Sized> Bytes for Cow<'_, T> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}
