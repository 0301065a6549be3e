//! The directory: topics, their partitions, and reading them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_counter::WindowCounts;
use gristmill_record::Records;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::watch;

use crate::LocalError;
use crate::chunk::ChunkRef;
use crate::lock::DirLock;

/// Topic → (id, partitions).
pub(crate) const TOPICS: TableDefinition<&str, (u32, u32)> = TableDefinition::new("topics");
/// (topic id, partition) → (next offset, highest timestamp).
pub(crate) const ENDS: TableDefinition<(u32, u32), (i64, i64)> = TableDefinition::new("ends");
/// (topic id, partition, base offset) → chunk.
pub(crate) const CHUNKS: TableDefinition<(u32, u32, i64), &[u8]> = TableDefinition::new("chunks");
/// (connector, lane's topic, lane's partition) → position of the connector that writes.
pub(crate) const POSITIONS: TableDefinition<(&str, &str, i32), &[u8]> =
    TableDefinition::new("positions");

/// Cache of the topics' database in bytes: enough for a writer's open transaction and the tail that
/// readers follow.
const TOPICS_CACHE_BYTES: usize = 12 << 20;
/// Cache of the counts' database in bytes: some 50,000 keys.
const COUNTS_CACHE_BYTES: usize = 4 << 20;
const PARTITIONS_MAX: i32 = 1024;

/// A directory of embedded topics and counts; clones share it.
///
/// Its calls that are not `async` wait for the disk: in an async context, wrap them in
/// `spawn_blocking`.
#[derive(Clone)]
pub struct LocalLog(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    topics: Database,
    counts: Database,
    /// Grows with every commit to a topic; readers wait on it.
    commits: watch::Sender<u64>,
    /// Last, so that it is let go of after the databases are closed.
    _lock: DirLock,
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// The next offset of each partition; the first is 0, since nothing is ever deleted.
    pub ends: Vec<i64>,
}

/// Part of a partition.
#[derive(Debug)]
pub struct Slice {
    /// The records, their offsets without gaps.
    pub records: Records,
    /// The offset after the last of them, or where the reading started if there is none.
    pub next: i64,
    /// The offset that the partition's next record will get.
    pub end: i64,
}

/// A topic's id and number of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) id: u32,
    pub(crate) partitions: u32,
}

impl LocalLog {
    /// Open the directory, or make it.
    ///
    /// # Errors
    /// [`LocalError::InUse`] if another process has it, [`LocalError::Open`] and
    /// [`LocalError::Storage`] if it cannot be used.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LocalError> {
        let dir = dir.into();
        let fail = |error| LocalError::Open {
            dir: dir.clone(),
            error,
        };
        if dir.exists() && !dir.is_dir() {
            return Err(fail(std::io::ErrorKind::NotADirectory.into()));
        }
        std::fs::create_dir_all(&dir).map_err(fail)?;
        let lock = DirLock::take(&dir)?;
        let storage = LocalError::storage::<redb::Error>(&dir);
        let topics = database(
            &dir.join("topics.redb"),
            TOPICS_CACHE_BYTES,
            &[create_tables],
        );
        let topics = topics.map_err(&storage)?;
        let tables: [Create; 2] = [crate::counts::create_tables, crate::windows::create_tables];
        let counts = database(&dir.join("counts.redb"), COUNTS_CACHE_BYTES, &tables);
        let counts = counts.map_err(&storage)?;
        // The files themselves are synced by their commits; their names are the directory's.
        std::fs::File::open(&dir)
            .and_then(|dir| dir.sync_all())
            .map_err(fail)?;
        drop(storage);
        Ok(Self(Arc::new(Inner {
            dir,
            topics,
            counts,
            commits: watch::Sender::new(0),
            _lock: lock,
        })))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Make a topic, or give it more partitions. Returns how many it has: a topic keeps those it
    /// had, as in Kafka, since keys would else change their partition's history.
    ///
    /// # Errors
    /// [`LocalError::Name`], [`LocalError::Partitions`], [`LocalError::Storage`].
    pub fn ensure_topic(&self, name: &str, partitions: i32) -> Result<i32, LocalError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=249).contains(&name.len())
            || !name.chars().all(legal)
            || [".", ".."].contains(&name)
        {
            return Err(LocalError::Name(name.to_owned()));
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(LocalError::Partitions {
                topic: name.to_owned(),
                partitions,
            });
        }
        if let Some(topic) = self.topic(name)?
            && topic.partitions as i32 >= partitions
        {
            return Ok(topic.partitions as i32);
        }
        self.write(|db| {
            let txn = db.begin_write()?;
            {
                let mut topics = txn.open_table(TOPICS)?;
                let present = topics.get(name)?.map(|topic| topic.value());
                let id = match present {
                    Some((id, _)) => id,
                    None => {
                        let ids = topics.iter()?.map(|row| Ok(row?.1.value().0));
                        let ids: Result<Vec<u32>, redb::Error> = ids.collect();
                        ids?.into_iter().max().map_or(0, |id| id + 1)
                    }
                };
                topics.insert(name, (id, partitions as u32))?;
            }
            txn.commit()?;
            Ok(())
        })?;
        Ok(partitions)
    }

    /// Every topic, in the order of their names.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn topics(&self) -> Result<Vec<TopicInfo>, LocalError> {
        self.read_with(|txn| {
            let (topics, ends) = (txn.open_table(TOPICS)?, txn.open_table(ENDS)?);
            let mut infos = Vec::new();
            for row in topics.iter()? {
                let (name, topic) = row?;
                let (id, partitions) = topic.value();
                let ends = (0..partitions).map(|partition| {
                    let end = ends.get((id, partition))?;
                    Ok(end.map_or(0, |end| end.value().0))
                });
                infos.push(TopicInfo {
                    name: name.value().to_owned(),
                    ends: ends.collect::<Result<_, redb::Error>>()?,
                });
            }
            Ok(infos)
        })
    }

    /// Records of a partition from `offset` on: at most `records_max` of them, and none more once
    /// they hold `bytes_max` bytes; at least one if there is any.
    ///
    /// # Errors
    /// [`LocalError::Unknown`], [`LocalError::OutOfRange`], [`LocalError::Corrupt`],
    /// [`LocalError::Storage`].
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Slice, LocalError> {
        let id = self.existing(topic)?;
        let lane = || format!("{topic}[{partition}]");
        let partition = u32::try_from(partition)
            .ok()
            .filter(|partition| *partition < id.partitions)
            .ok_or_else(|| self.unknown(lane()))?;
        let txn = self.begin_read()?;
        let slice = self.slice(&txn, (id.id, partition), offset, records_max, bytes_max)?;
        if !(0..=slice.end).contains(&offset) {
            return Err(LocalError::OutOfRange {
                lane: lane(),
                offset,
                end: slice.end,
            });
        }
        Ok(slice)
    }

    /// Changes with every commit to any topic: wait on it to follow one.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.subscribe()
    }

    /// The counts of one connector, by key; bytes that are no UTF-8 show as U+FFFD.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn counts(
        &self,
        pipeline: &str,
        connector: &str,
    ) -> Result<BTreeMap<String, i64>, LocalError> {
        crate::counts::read(self, &crate::counts::id(pipeline, connector))
    }

    /// The windows of one connector that end after `after_ms`, in the order of their ends.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn windows(
        &self,
        pipeline: &str,
        connector: &str,
        after_ms: i64,
    ) -> Result<Vec<WindowCounts>, LocalError> {
        crate::windows::read(self, &crate::counts::id(pipeline, connector), after_ms)
    }

    /// Up to when the windows of one connector are final.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn windows_closed(
        &self,
        pipeline: &str,
        connector: &str,
    ) -> Result<Option<i64>, LocalError> {
        crate::windows::edge(self, &crate::counts::id(pipeline, connector))
    }

    /// Records of one connector that came too late for their window, by key.
    ///
    /// # Errors
    /// [`LocalError::Storage`].
    pub fn late(
        &self,
        pipeline: &str,
        connector: &str,
    ) -> Result<BTreeMap<String, i64>, LocalError> {
        crate::windows::read_late(self, &crate::counts::id(pipeline, connector))
    }

    pub(crate) fn slice(
        &self,
        txn: &ReadTransaction,
        (id, partition): (u32, u32),
        offset: i64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Slice, LocalError> {
        let storage = LocalError::storage::<redb::Error>(self.dir());
        let mut slice = Slice {
            records: Records::default(),
            next: offset,
            end: end(txn, id, partition).map_err(&storage)?,
        };
        if offset < 0 || offset >= slice.end {
            return Ok(slice);
        }
        let chunks = txn.open_table(CHUNKS).map_err(|e| storage(e.into()))?;
        // The chunk that holds `offset` is the last one that starts at or before it.
        let first = chunks
            .range((id, partition, 0)..=(id, partition, offset))
            .map_err(|e| storage(e.into()))?
            .next_back()
            .transpose()
            .map_err(|e| storage(e.into()))?
            .map_or(offset, |(key, _)| key.value().2);
        slice.records = Records::with_capacity(records_max.min(4096), bytes_max.min(1 << 20));
        let rows = chunks
            .range((id, partition, first)..=(id, partition, i64::MAX))
            .map_err(|e| storage(e.into()))?;
        for row in rows {
            let (key, value) = row.map_err(|e| storage(e.into()))?;
            let base = key.value().2;
            let whole = ChunkRef::parse(base, value.value())
                .and_then(|chunk| chunk.read(offset, records_max, bytes_max, &mut slice.records))
                .ok_or_else(|| self.corrupt(format!("chunk {:?}", key.value())))?;
            let full = slice.records.len() >= records_max || slice.records.bytes() >= bytes_max;
            if !whole || full {
                break;
            }
        }
        slice.next = offset + slice.records.len() as i64;
        Ok(slice)
    }

    pub(crate) fn topic(&self, name: &str) -> Result<Option<Topic>, LocalError> {
        self.read_with(|txn| {
            let row = txn.open_table(TOPICS)?.get(name)?;
            Ok(row.map(|row| {
                let (id, partitions) = row.value();
                Topic { id, partitions }
            }))
        })
    }

    pub(crate) fn existing(&self, name: &str) -> Result<Topic, LocalError> {
        self.topic(name)?
            .ok_or_else(|| self.unknown(name.to_owned()))
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, LocalError> {
        self.0
            .topics
            .begin_read()
            .map_err(LocalError::storage(self.dir()))
    }

    pub(crate) fn read_with<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, LocalError> {
        let txn = self.begin_read()?;
        read(&txn).map_err(LocalError::storage(self.dir()))
    }

    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, LocalError> {
        write(&self.0.topics).map_err(LocalError::storage(self.dir()))
    }

    pub(crate) fn counts_db(&self) -> &Database {
        &self.0.counts
    }

    /// Wake the readers.
    pub(crate) fn committed(&self) {
        self.0.commits.send_modify(|commits| *commits += 1);
    }

    pub(crate) fn corrupt(&self, what: String) -> LocalError {
        LocalError::Corrupt {
            dir: self.0.dir.clone(),
            what,
        }
    }

    fn unknown(&self, lane: String) -> LocalError {
        LocalError::Unknown {
            lane,
            dir: self.0.dir.clone(),
        }
    }
}

/// The offset that the partition's next record will get.
pub(crate) fn end(txn: &ReadTransaction, id: u32, partition: u32) -> Result<i64, redb::Error> {
    let end = txn.open_table(ENDS)?.get((id, partition))?;
    Ok(end.map_or(0, |end| end.value().0))
}

/// Makes the tables of a database.
type Create = fn(&Database) -> Result<(), redb::Error>;

/// The database in `path`, made with its tables if it is not there.
///
/// It gets its name when it is whole: `redb` takes some milliseconds to make a file, and refuses
/// for ever what a kill within them leaves. Whoever calls this has the directory's lock.
fn database(path: &Path, cache_bytes: usize, tables: &[Create]) -> Result<Database, redb::Error> {
    let fresh = (!path.exists()).then(|| path.with_extension("new"));
    if let Some(fresh) = &fresh
        && let Err(error) = std::fs::remove_file(fresh)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    let db = builder.create(fresh.as_deref().unwrap_or(path))?;
    for create in tables {
        create(&db)?;
    }
    if let Some(fresh) = &fresh {
        std::fs::rename(fresh, path)?;
    }
    Ok(db)
}

/// Readers may come before the first write.
fn create_tables(db: &Database) -> Result<(), redb::Error> {
    let txn = db.begin_read()?;
    if txn.open_table(POSITIONS).is_ok() {
        return Ok(());
    }
    let txn = db.begin_write()?;
    txn.open_table(TOPICS)?;
    txn.open_table(ENDS)?;
    txn.open_table(CHUNKS)?;
    txn.open_table(POSITIONS)?;
    txn.commit()?;
    Ok(())
}

impl std::fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalLog").field(&self.0.dir).finish()
    }
}
