//! Buffers that are used again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Records;
use crate::records::Buffers;

/// A buffer that grew larger than this for once is not kept. The largest batches have 4 MiB, and a
/// growing buffer doubles.
const KEPT_BYTES_MAX: usize = 10 << 20;

/// Where [`Records`] get their buffers from and, when they are dropped, give them back to.
///
/// A batch of megabytes is beyond what an allocator keeps: without a pool each is mapped by the
/// kernel anew, page by page, which costs as much as copying the records in.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept_max: usize,
    kept: Mutex<Vec<Buffers>>,
}

impl Pool {
    /// A pool that keeps up to `kept_max` buffers that nobody uses.
    pub fn new(kept_max: usize) -> Self {
        Self(Arc::new(Shared {
            kept_max,
            kept: Mutex::new(Vec::with_capacity(kept_max)),
        }))
    }

    /// Empty records, in a buffer that was used before if there is one.
    pub fn records(&self) -> Records {
        let buffers = self.kept().pop().unwrap_or_default();
        Records::pooled(buffers, self.clone())
    }

    pub(crate) fn give_back(&self, buffers: Buffers) {
        let mut kept = self.kept();
        if kept.len() < self.0.kept_max && buffers.bytes() <= KEPT_BYTES_MAX {
            kept.push(buffers);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Buffers>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordRef;

    fn filled(pool: &Pool, bytes: usize) -> Records {
        let mut records = pool.records();
        records.push(RecordRef::new(0, 0, None, &vec![b'v'; bytes]));
        records
    }

    #[test]
    fn a_dropped_buffer_comes_back_empty() {
        let pool = Pool::new(2);
        let first = filled(&pool, 1000);
        let at = first.get(0).unwrap().value.as_ptr();
        drop(first);
        let second = filled(&pool, 10);
        assert_eq!((second.len(), second.bytes()), (1, 10));
        assert_eq!(second.get(0).unwrap().value.as_ptr(), at);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let pool = Pool::new(2);
        drop([(); 5].map(|()| filled(&pool, 1000)));
        assert_eq!(pool.kept().len(), 2);
        let pool = Pool::new(2);
        drop(filled(&pool, KEPT_BYTES_MAX + 1));
        assert_eq!(pool.kept().len(), 0);
    }

    #[test]
    fn a_copy_is_equal_and_belongs_to_no_pool() {
        let pool = Pool::new(2);
        let records = filled(&pool, 10);
        let copy = records.clone();
        assert_eq!(records, copy);
        drop(copy);
        assert_eq!(pool.kept().len(), 0);
        drop(records);
        assert_eq!(pool.kept().len(), 1);
    }
}
