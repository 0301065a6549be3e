//! Connections to a cluster: the controller (SC) for what there is, the SPUs for records.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::{FluvioAdmin, FluvioClusterConfig, Isolation};
use fluvio_protocol::api::Request;
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Batch, RawRecords, RecordSet};
use fluvio_socket::{
    AsyncResponse, ClientConfig, MultiplexerSocket, SocketError, VersionedSerialSocket,
};
use fluvio_spu_schema::fetch::{FetchPartition, FetchRequest, FetchableTopic};
use fluvio_spu_schema::produce::{
    DefaultPartitionRequest, DefaultProduceRequest, DefaultTopicRequest,
};
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use fluvio_spu_schema::server::stream_fetch::DefaultStreamFetchRequest;
use fluvio_spu_schema::server::update_offset::{OffsetUpdate, UpdateOffsetsRequest};
use gristmill_record::Records;
use tokio::time::timeout;

use crate::FluvioConfig;
use crate::codec::decode;
use crate::error::Trouble;

/// How long the cluster may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the replicas of a partition may take to have what was written.
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes that are asked for at once. A batch that is larger would come cut, and be none: an SPU takes half
/// of this in a batch, unless it is configured otherwise.
const FETCH_BYTES: i32 = 4 << 20;

/// Which records of a partition are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Those that all its replicas have.
    Committed,
    /// Those that its leader has.
    All,
}

impl From<Sight> for Isolation {
    fn from(sight: Sight) -> Self {
        match sight {
            Sight::Committed => Self::ReadCommitted,
            Sight::All => Self::ReadUncommitted,
        }
    }
}

/// What one fetch gave.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) records: Records,
    /// Where to go on: behind the last record, or where the fetch started if there is none.
    pub(crate) next: i64,
    /// Behind the last committed record.
    pub(crate) committed: i64,
}

impl Slice {
    /// Whether all replicas have what the leader has, up to the partition's end `at`.
    pub(crate) fn settled(&self, (topic, partition): (&str, u32), at: i64) -> Result<(), Trouble> {
        match at - self.committed {
            ..=0 => Ok(()),
            behind => Err(Trouble::Passing(format!(
                "{topic}[{partition}]: replicas are {behind} records behind"
            ))),
        }
    }
}

/// Batches on their way to a partition, in order: all that come before one that fails are appended.
pub(crate) struct Append {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) batches: Vec<Batch<RawRecords>>,
}

/// What a stream of a partition gives.
pub(crate) type Stream = AsyncResponse<DefaultStreamFetchRequest>;

/// A client of its own, with connections of its own.
pub(crate) struct Cluster {
    config: FluvioConfig,
    admin: FluvioAdmin,
    /// Topic → partition → the SPU that leads it.
    leaders: BTreeMap<String, BTreeMap<u32, i32>>,
    addresses: BTreeMap<i32, String>,
    sockets: BTreeMap<i32, VersionedSerialSocket>,
}

impl Cluster {
    /// Connect to the controller and ask what there is.
    pub(crate) async fn connect(config: &FluvioConfig) -> Result<Self, Trouble> {
        let mut cluster_config = FluvioClusterConfig::new(&config.endpoint);
        cluster_config.client_id = Some(config.client_id.clone());
        let connecting = FluvioAdmin::connect_with_config(&cluster_config);
        let mut cluster = Self {
            admin: admin(&config.endpoint, connecting).await?,
            config: config.clone(),
            leaders: BTreeMap::new(),
            addresses: BTreeMap::new(),
            sockets: BTreeMap::new(),
        };
        cluster.refresh().await?;
        Ok(cluster)
    }

    pub(crate) fn at(&self) -> &str {
        &self.config.endpoint
    }

    pub(crate) fn admin(&self) -> &FluvioAdmin {
        &self.admin
    }

    /// Ask anew which partitions there are and who leads them.
    pub(crate) async fn refresh(&mut self) -> Result<(), Trouble> {
        let at = self.config.endpoint.clone();
        let partitions = admin(&at, self.admin.all::<PartitionSpec>()).await?;
        let spus = admin(&at, self.admin.all::<SpuSpec>()).await?;
        self.addresses = spus
            .into_iter()
            .map(|spu| (spu.spec.id, spu.spec.public_endpoint.addr()))
            .collect();
        self.leaders.clear();
        for found in partitions {
            // `<topic>-<partition>`.
            let name = found.name.rsplit_once('-');
            let name = name.and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
            if let Some((topic, number)) = name {
                let topic = self.leaders.entry(topic.to_owned()).or_default();
                topic.insert(number, found.spec.leader);
            }
        }
        Ok(())
    }

    /// How many partitions `topic` has.
    ///
    /// # Errors
    /// [`Trouble::Passing`] where there is no such topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<u32, Trouble> {
        match self.leaders.get(topic).map(BTreeMap::len) {
            None | Some(0) => Err(Trouble::missing(topic, self.at())),
            Some(partitions) => Ok(partitions as u32),
        }
    }

    /// The topics with their numbers of partitions, and the addresses of the SPUs.
    pub(crate) fn shape(&self) -> (BTreeMap<String, usize>, BTreeMap<i32, String>) {
        let topics = self.leaders.iter();
        let topics = topics.map(|(topic, partitions)| (topic.clone(), partitions.len()));
        (topics.collect(), self.addresses.clone())
    }

    /// The first offset of a partition, and the one behind its last committed record.
    pub(crate) async fn offsets(
        &mut self,
        topic: &str,
        partition: u32,
    ) -> Result<Range<i64>, Trouble> {
        let request = FetchOffsetsRequest::new(topic.to_owned(), partition);
        let response = self.ask(topic, partition, request).await?;
        let mut found = response.topics.into_iter().flat_map(|t| t.partitions);
        let found = found.find(|found| found.partition_index == partition);
        let found = found.ok_or_else(|| self.silent(topic, partition))?;
        self.check(&found.error_code, topic, partition)?;
        Ok(found.start_offset..found.last_stable_offset)
    }

    /// Records of a partition from `from` on, as many as come at once; none at its end.
    pub(crate) async fn fetch(
        &mut self,
        (topic, partition): (&str, u32),
        from: i64,
        sight: Sight,
    ) -> Result<Slice, Trouble> {
        let request = FetchRequest::<RecordSet<RawRecords>> {
            max_bytes: FETCH_BYTES,
            isolation_level: sight.into(),
            topics: vec![FetchableTopic {
                name: topic.to_owned(),
                fetch_partitions: vec![FetchPartition {
                    partition_index: partition,
                    fetch_offset: from,
                    max_bytes: FETCH_BYTES,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let response = self.ask(topic, partition, request).await?;
        let found = response.find_partition(topic, partition);
        let found = found.ok_or_else(|| self.silent(topic, partition))?;
        self.check(&found.error_code, topic, partition)?;
        let mut slice = Slice {
            next: from,
            committed: found.high_watermark,
            ..Slice::default()
        };
        for batch in &found.records.batches {
            slice.next = decode(batch, from, &mut slice.records)
                .map_err(|reason| Trouble::Lasting(format!("{topic}[{partition}]: {reason}")))?
                .max(slice.next);
        }
        if slice.next == from && from < slice.committed {
            return Err(unreadable((topic, partition), from, slice.committed));
        }
        Ok(slice)
    }

    /// Open a stream of a partition's committed records from `from` on. It gives more once
    /// [`read_up_to`](Self::read_up_to) says that what it gave was read.
    pub(crate) async fn stream(
        &mut self,
        topic: &str,
        partition: u32,
        from: i64,
    ) -> Result<Stream, Trouble> {
        let at = self.config.endpoint.clone();
        let mut request = DefaultStreamFetchRequest::default();
        request.topic = topic.to_owned();
        request.partition = partition;
        request.fetch_offset = from;
        request.max_bytes = FETCH_BYTES;
        request.isolation = Isolation::ReadCommitted;
        let socket = self.socket(topic, partition).await?;
        let version = socket.lookup_version::<DefaultStreamFetchRequest>();
        let request = socket.new_request(request, version);
        // One answer is in the queue at most: the SPU waits for our word.
        within(&at, socket.create_stream(request, 2)).await
    }

    /// Tell the SPU of a stream that everything before `offset` was read.
    pub(crate) async fn read_up_to(
        &mut self,
        (topic, partition): (&str, u32),
        stream_id: u32,
        offset: i64,
    ) -> Result<(), Trouble> {
        let update = OffsetUpdate {
            offset,
            session_id: stream_id,
        };
        let request = UpdateOffsetsRequest::new(vec![update]);
        self.ask(topic, partition, request).await.map(drop)
    }

    /// Append to several partitions at once. For each, in their order, the offset of its first record; what
    /// was appended is durable on all replicas. No request is sent twice: after an error it is unknown what
    /// of its batches was appended, but nothing is under way any more, unless the cluster did not answer.
    pub(crate) async fn append(
        &mut self,
        appends: Vec<Append>,
    ) -> Result<Vec<Result<i64, Trouble>>, Trouble> {
        let at = self.config.endpoint.clone();
        let mut answers = Vec::with_capacity(appends.len());
        for append in appends {
            let (topic, partition) = (append.topic.clone(), append.partition);
            let socket = self.socket(&topic, partition).await?;
            let answer = within(&at, socket.send_async(produce(append))).await?;
            answers.push((topic, partition, answer));
        }
        let mut results = Vec::with_capacity(answers.len());
        for (topic, partition, answer) in answers {
            let answer = within(&at, answer).await;
            results.push(answer.and_then(|response| {
                let found = response.find_partition_response(&topic, partition);
                let found = found.ok_or_else(|| self.silent(&topic, partition))?;
                self.check(&found.error_code, &topic, partition)?;
                Ok(found.base_offset)
            }));
        }
        Ok(results)
    }

    async fn ask<R: Request + Send + Sync>(
        &mut self,
        topic: &str,
        partition: u32,
        request: R,
    ) -> Result<R::Response, Trouble> {
        let at = self.config.endpoint.clone();
        let socket = self.socket(topic, partition).await?;
        within(&at, socket.send_receive(request)).await
    }

    /// The connection to the SPU that leads a partition.
    async fn socket(
        &mut self,
        topic: &str,
        partition: u32,
    ) -> Result<&VersionedSerialSocket, Trouble> {
        let leader = self.leaders.get(topic).and_then(|all| all.get(&partition));
        let leader = *leader.ok_or_else(|| Trouble::missing(topic, self.at()))?;
        let address = self.addresses.get(&leader).ok_or_else(|| {
            Trouble::Passing(format!(
                "{topic}[{partition}]: SPU {leader}, which leads it, is not known at {}",
                self.at()
            ))
        })?;
        if !self.sockets.contains_key(&leader) {
            let mut config = ClientConfig::with_addr(address.clone());
            config.set_client_id(&self.config.client_id);
            let connected = within(address, config.connect()).await?;
            let (socket, config, versions) = connected.split();
            let socket = MultiplexerSocket::shared(socket);
            let socket = VersionedSerialSocket::new(socket, config, versions);
            self.sockets.insert(leader, socket);
        }
        Ok(&self.sockets[&leader])
    }

    fn silent(&self, topic: &str, partition: u32) -> Trouble {
        let at = self.at();
        Trouble::Passing(format!("{topic}[{partition}]: no word of it from {at}"))
    }

    fn check(&self, code: &ErrorCode, topic: &str, partition: u32) -> Result<(), Trouble> {
        match code {
            ErrorCode::None => Ok(()),
            ErrorCode::TopicNotFound => Err(Trouble::missing(topic, self.at())),
            code => Err(Trouble::told(code, &format!("{topic}[{partition}]"))),
        }
    }
}

/// Records that are there and do not decode.
pub(crate) fn unreadable((topic, partition): (&str, u32), from: i64, committed: i64) -> Trouble {
    Trouble::Passing(format!(
        "{topic}[{partition}]: the batch at offset {from} cannot be read, though the partition goes on to \
         {committed}: it is damaged, or larger than {FETCH_BYTES} bytes"
    ))
}

fn produce(append: Append) -> DefaultProduceRequest {
    DefaultProduceRequest {
        isolation: Isolation::ReadCommitted,
        timeout: REPLICATION_TIMEOUT,
        topics: vec![DefaultTopicRequest {
            name: append.topic,
            partitions: vec![DefaultPartitionRequest {
                partition_index: append.partition,
                records: RecordSet {
                    batches: append.batches,
                },
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// An answer of an SPU at `at`, in time.
async fn within<T>(
    at: &str,
    answer: impl Future<Output = Result<T, SocketError>>,
) -> Result<T, Trouble> {
    match timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| Trouble::socket(&error, at)),
        Err(_) => Err(late(at)),
    }
}

/// An answer of the controller at `at`, in time.
pub(crate) async fn admin<T>(
    at: &str,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Trouble> {
    match timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| Trouble::admin(&error, at)),
        Err(_) => Err(late(at)),
    }
}

fn late(at: &str) -> Trouble {
    let limit = REQUEST_TIMEOUT.as_secs();
    Trouble::Passing(format!("Fluvio at {at} does not answer within {limit} s"))
}
