//! Sixteen bytes at a time.
//!
//! One algorithm, two ways to run it: WASM's `simd128` instructions in a guest that was built with
//! them (as `gristmill smartmodule build` does), plain arrays elsewhere, which is how `cargo test`
//! runs the same code natively. Both are held against each other by the tests in `smartengine`,
//! which run the real WASM.

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use simd::Block;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub(super) use plain::Block;

/// Bytes in a block.
pub(super) const LEN: usize = 16;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd {
    use core::arch::wasm32::*;

    #[derive(Clone, Copy)]
    pub(crate) struct Block(v128);

    impl Block {
        #[inline(always)]
        pub(crate) fn load(bytes: &[u8; 16]) -> Self {
            // SAFETY: the reference is to 16 readable bytes, and the load needs no alignment.
            #[allow(unsafe_code)]
            Self(unsafe { v128_load(bytes.as_ptr().cast()) })
        }

        #[inline(always)]
        pub(crate) fn splat(byte: u8) -> Self {
            Self(u8x16_splat(byte))
        }

        #[inline(always)]
        pub(crate) fn equal(self, byte: u8) -> Self {
            Self(u8x16_eq(self.0, u8x16_splat(byte)))
        }

        #[inline(always)]
        pub(crate) fn at_most(self, byte: u8) -> Self {
            Self(u8x16_eq(u8x16_min(self.0, u8x16_splat(byte)), self.0))
        }

        /// The lesser of each two bytes.
        #[inline(always)]
        pub(crate) fn min(self, other: Self) -> Self {
            Self(u8x16_min(self.0, other.0))
        }

        #[inline(always)]
        pub(crate) fn or(self, other: Self) -> Self {
            Self(v128_or(self.0, other.0))
        }

        #[inline(always)]
        pub(crate) fn and(self, other: Self) -> Self {
            Self(v128_and(self.0, other.0))
        }

        #[inline(always)]
        pub(crate) fn xor(self, other: Self) -> Self {
            Self(v128_xor(self.0, other.0))
        }

        /// A bit for each byte: its highest one.
        #[inline(always)]
        pub(crate) fn high_bits(self) -> u32 {
            u32::from(u8x16_bitmask(self.0))
        }

        #[inline(always)]
        pub(crate) fn is_zero(self) -> bool {
            !v128_any_true(self.0)
        }

        /// The high half of each byte.
        #[inline(always)]
        pub(crate) fn high_nibbles(self) -> Self {
            Self(u8x16_shr(self.0, 4))
        }

        /// Bytes of this table by the low four bits of each index, all of which are below 16.
        #[inline(always)]
        pub(crate) fn lookup(self, indices: Self) -> Self {
            Self(i8x16_swizzle(self.0, indices.0))
        }

        /// Each byte less `amount`, modulo 256.
        #[inline(always)]
        pub(crate) fn minus(self, amount: u8) -> Self {
            Self(u8x16_sub(self.0, u8x16_splat(amount)))
        }

        /// Each byte less `amount`, not below zero.
        #[inline(always)]
        pub(crate) fn less(self, amount: u8) -> Self {
            Self(u8x16_sub_sat(self.0, u8x16_splat(amount)))
        }

        /// Less another block, byte by byte, not below zero.
        #[inline(always)]
        pub(crate) fn less_block(self, other: Self) -> Self {
            Self(u8x16_sub_sat(self.0, other.0))
        }

        /// The byte `N` places before each one, where `before` precedes this block.
        #[inline(always)]
        pub(crate) fn previous<const N: usize>(self, before: Self) -> Self {
            let (a, b) = (before.0, self.0);
            Self(match N {
                1 => {
                    i8x16_shuffle::<15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30>(
                        a, b,
                    )
                }
                2 => {
                    i8x16_shuffle::<14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29>(
                        a, b,
                    )
                }
                _ => {
                    i8x16_shuffle::<13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28>(
                        a, b,
                    )
                }
            })
        }
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod plain {
    #[derive(Clone, Copy)]
    pub(crate) struct Block([u8; 16]);

    impl Block {
        #[inline(always)]
        pub(crate) fn load(bytes: &[u8; 16]) -> Self {
            Self(*bytes)
        }

        #[inline(always)]
        pub(crate) fn splat(byte: u8) -> Self {
            Self([byte; 16])
        }

        #[inline(always)]
        pub(crate) fn equal(self, byte: u8) -> Self {
            self.map(|own| if own == byte { 0xff } else { 0 })
        }

        #[inline(always)]
        pub(crate) fn at_most(self, byte: u8) -> Self {
            self.map(|own| if own <= byte { 0xff } else { 0 })
        }

        #[inline(always)]
        pub(crate) fn min(self, other: Self) -> Self {
            self.zip(other, u8::min)
        }

        #[inline(always)]
        pub(crate) fn or(self, other: Self) -> Self {
            self.zip(other, |a, b| a | b)
        }

        #[inline(always)]
        pub(crate) fn and(self, other: Self) -> Self {
            self.zip(other, |a, b| a & b)
        }

        #[inline(always)]
        pub(crate) fn xor(self, other: Self) -> Self {
            self.zip(other, |a, b| a ^ b)
        }

        #[inline(always)]
        pub(crate) fn high_bits(self) -> u32 {
            // Eight bytes at once: the product gathers their high bits in its last byte.
            let half = |bytes: [u8; 8]| {
                let bits = (u64::from_le_bytes(bytes) >> 7) & 0x0101_0101_0101_0101;
                (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
            };
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
            half([a, b, c, d, e, f, g, h]) | half([i, j, k, l, m, n, o, p]) << 8
        }

        #[inline(always)]
        pub(crate) fn is_zero(self) -> bool {
            u128::from_le_bytes(self.0) == 0
        }

        #[inline(always)]
        pub(crate) fn high_nibbles(self) -> Self {
            self.map(|byte| byte >> 4)
        }

        #[inline(always)]
        pub(crate) fn lookup(self, indices: Self) -> Self {
            indices.map(|index| self.0[usize::from(index & 15)])
        }

        #[inline(always)]
        pub(crate) fn minus(self, amount: u8) -> Self {
            self.map(|byte| byte.wrapping_sub(amount))
        }

        #[inline(always)]
        pub(crate) fn less(self, amount: u8) -> Self {
            self.map(|byte| byte.saturating_sub(amount))
        }

        #[inline(always)]
        pub(crate) fn less_block(self, other: Self) -> Self {
            self.zip(other, u8::saturating_sub)
        }

        #[inline(always)]
        pub(crate) fn previous<const N: usize>(self, before: Self) -> Self {
            Self(std::array::from_fn(|at| match at.checked_sub(N) {
                Some(at) => self.0[at],
                None => before.0[16 + at - N],
            }))
        }

        #[inline(always)]
        fn map(self, f: impl Fn(u8) -> u8) -> Self {
            Self(self.0.map(f))
        }

        #[inline(always)]
        fn zip(self, other: Self, f: impl Fn(u8, u8) -> u8) -> Self {
            Self(std::array::from_fn(|at| f(self.0[at], other.0[at])))
        }
    }
}
