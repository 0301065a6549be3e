//! A stand-in for a cluster: topics in memory behind Fluvio's own protocol (its published schemas), with
//! faults on request. For tests, and to try things out where no cluster can be had; it replicates nothing,
//! deletes nothing by itself and believes everybody.
//!
//! What it does of the SC and the SPU follows their source (0.50): batches are appended whole, a record set
//! with one that is too large not at all; a fetch starts with the batch that holds its offset; a stream
//! gives more once its reader says how far it is.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::TopicSpec;
use fluvio_future::net::TcpListener;
use fluvio_protocol::api::{RequestHeader, ResponseMessage};
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::link::versions::{ApiVersionKey, ApiVersionsResponse};
use fluvio_protocol::record::{Batch, RawRecords, RecordSet};
use fluvio_protocol::{Encoder, Version};
use fluvio_sc_schema::objects::{
    CreateRequest, ListRequest, ListResponse, Metadata, ObjectApiListRequest, ObjectApiListResponse,
};
use fluvio_sc_schema::{
    AdminPublicApiKey, AdminPublicDecodedRequest, AdminSpec, Status, TryEncodableFrom,
};
use fluvio_socket::{ExclusiveFlvSink, FluvioSocket, FluvioStream, SocketError};
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::fetch::{
    FetchResponse, FetchablePartitionResponse, FetchableTopicResponse, FileFetchRequest,
};
use fluvio_spu_schema::produce::{
    DefaultProduceRequest, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use fluvio_spu_schema::server::fetch_offset::{
    FetchOffsetPartitionResponse, FetchOffsetTopicResponse, FetchOffsetsRequest,
    FetchOffsetsResponse,
};
use fluvio_spu_schema::server::stream_fetch::{FileStreamFetchRequest, StreamFetchResponse};
use fluvio_spu_schema::server::update_offset::UpdateOffsetsResponse;
use fluvio_spu_schema::server::{SpuServerApiKey, SpuServerRequest};
use futures_util::StreamExt;
use gristmill_flow::CancellationToken;
use gristmill_record::Records;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::FluvioConfig;
use crate::codec::{decode, encode};

const SC_VERSION: i16 = 19;
const SPU_VERSION: i16 = 25;
const SPU: i32 = 5001;
/// Largest batch, in bytes, as SPUs have it by default.
const BATCH_BYTES_MAX: usize = 2_097_152;

type Raw = RecordSet<RawRecords>;

/// What goes wrong with the next write to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is appended, and the connection ends without an answer.
    AppendedUnanswered,
    /// The connection ends before anything is appended.
    Lost,
    /// An error is the answer, and nothing is appended.
    Refused,
}

/// A running stand-in; it ends when it is dropped.
pub struct StandIn {
    endpoint: String,
    shared: Arc<Shared>,
    _listeners: [AbortOnDropHandle<()>; 2],
}

struct Shared {
    topics: Mutex<Topics>,
    changes: watch::Sender<u64>,
    /// Ends the connections there are.
    cut: Mutex<CancellationToken>,
    spu: (String, u16),
}

#[derive(Default)]
struct Topics {
    topics: BTreeMap<String, Vec<Partition>>,
    faults: HashMap<String, Fault>,
    batch_bytes_max: Option<usize>,
    streams: u32,
}

#[derive(Default)]
struct Partition {
    start: i64,
    end: i64,
    /// Replicas are held back here.
    held_at: Option<i64>,
    batches: Vec<Batch<RawRecords>>,
}

impl Partition {
    fn committed(&self) -> i64 {
        self.held_at.unwrap_or(self.end)
    }

    fn append(&mut self, mut batch: Batch<RawRecords>) {
        batch.set_base_offset(self.end);
        self.end += batch.records_len() as i64;
        self.batches.push(batch);
    }

    /// Batches from the one with `from` on, whole, up to `max_bytes`.
    fn read(&self, from: i64, max_bytes: usize, isolation: Isolation) -> Raw {
        let end = match isolation {
            Isolation::ReadCommitted => self.committed(),
            Isolation::ReadUncommitted => self.end,
        };
        let mut bytes = 0;
        let wanted = self.batches.iter().filter(|batch| {
            batch.computed_last_offset() > from && batch.computed_last_offset() <= end
        });
        let fits = wanted.take_while(|batch| {
            bytes += batch.write_size(0);
            bytes <= max_bytes
        });
        RecordSet {
            batches: fits.cloned().collect(),
        }
    }
}

impl StandIn {
    /// Start one on ports of its own.
    ///
    /// # Errors
    /// No port on loopback.
    pub async fn start() -> io::Result<Self> {
        Self::start_at("127.0.0.1:0").await
    }

    /// Start one whose controller is at `endpoint`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start_at(endpoint: &str) -> io::Result<Self> {
        let controller = TcpListener::bind(endpoint).await?;
        let spu = TcpListener::bind("127.0.0.1:0").await?;
        let spu_address = spu.local_addr()?;
        let shared = Arc::new(Shared {
            topics: Mutex::default(),
            changes: watch::channel(0).0,
            cut: Mutex::default(),
            spu: (spu_address.ip().to_string(), spu_address.port()),
        });
        Ok(Self {
            endpoint: controller.local_addr()?.to_string(),
            _listeners: [
                listen(controller, shared.clone(), |shared, socket| {
                    Box::pin(serve_controller(shared, socket))
                }),
                listen(spu, shared.clone(), |shared, socket| {
                    Box::pin(serve_spu(shared, socket))
                }),
            ],
            shared,
        })
    }

    /// How to reach it.
    pub fn config(&self) -> FluvioConfig {
        FluvioConfig {
            endpoint: self.endpoint.clone(),
            client_id: "stand-in".to_owned(),
        }
    }

    /// Create a topic, or give one more partitions.
    pub fn create(&self, topic: &str, partitions: usize) {
        let mut topics = self.shared.topics();
        let topic = topics.topics.entry(topic.to_owned()).or_default();
        topic.resize_with(partitions, Partition::default);
    }

    /// Delete a topic; streams of it end.
    pub fn delete(&self, topic: &str) {
        self.shared.topics().topics.remove(topic);
        self.shared.changed();
    }

    /// The topics there are, by name, with their numbers of partitions.
    pub fn topics(&self) -> BTreeMap<String, usize> {
        let topics = self.shared.topics();
        let topics = topics.topics.iter();
        topics
            .map(|(name, partitions)| (name.clone(), partitions.len()))
            .collect()
    }

    /// The records of a partition.
    ///
    /// # Panics
    /// If there is no such partition, or its records cannot be decoded.
    pub fn records(&self, topic: &str, partition: usize) -> Records {
        let mut records = Records::default();
        let topics = self.shared.topics();
        for batch in &topics.topics[topic][partition].batches {
            #[allow(clippy::expect_used, reason = "for tests, which fail by panicking")]
            decode(batch, 0, &mut records).expect("records that were appended");
        }
        records
    }

    /// Append a batch as some other producer would.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn append(&self, topic: &str, partition: usize, records: &Records) {
        #[allow(clippy::expect_used, reason = "for tests, which fail by panicking")]
        let batch = encode(records.iter(), fluvio::Compression::None).expect("a batch");
        self.shared
            .topics()
            .topics
            .entry(topic.to_owned())
            .or_default()[partition]
            .append(batch);
        self.shared.changed();
    }

    /// Whether the fault that was asked for has yet to come.
    pub fn is_failing(&self, topic: &str) -> bool {
        self.shared.topics().faults.contains_key(topic)
    }

    /// The next write to `topic` goes wrong.
    pub fn fail_next(&self, topic: &str, fault: Fault) {
        self.shared.topics().faults.insert(topic.to_owned(), fault);
    }

    /// Refuse batches of more bytes.
    pub fn limit_batches(&self, bytes: usize) {
        self.shared.topics().batch_bytes_max = Some(bytes);
    }

    /// Let retention delete what is before `start` (a batch's offset).
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn trim(&self, topic: &str, partition: usize, start: i64) {
        let mut topics = self.shared.topics();
        let found = topics
            .topics
            .get_mut(topic)
            .and_then(|t| t.get_mut(partition));
        #[allow(clippy::expect_used, reason = "for tests, which fail by panicking")]
        let found = found.expect("a partition");
        found.start = start;
        found
            .batches
            .retain(|batch| batch.get_base_offset() >= start);
    }

    /// From now on the replicas of `topic` get nothing; `false` lets them have it all.
    pub fn hold(&self, topic: &str, is_held: bool) {
        let mut topics = self.shared.topics();
        for partition in topics.topics.entry(topic.to_owned()).or_default() {
            partition.held_at = is_held.then_some(partition.end);
        }
        drop(topics);
        self.shared.changed();
    }

    /// End all connections.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn connected(&self) -> CancellationToken {
        self.cut
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn cut(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }
}

type Serving = std::pin::Pin<Box<dyn Future<Output = Result<(), SocketError>> + Send>>;

fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    serve: fn(Arc<Shared>, FluvioSocket) -> Serving,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let cut = shared.connected();
            let serving = serve(shared.clone(), FluvioSocket::from(connection));
            tokio::spawn(async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    // A client that goes away is no error of ours.
                    result = serving => drop(result),
                }
            });
        }
    }))
}

fn versions(keys: &[u16], max_version: i16) -> ApiVersionsResponse {
    let key = |key: &u16| ApiVersionKey {
        api_key: *key as i16,
        min_version: 0,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: keys.iter().map(key).collect(),
        ..Default::default()
    }
}

async fn answer<P: Encoder + Default + std::fmt::Debug>(
    sink: &ExclusiveFlvSink,
    header: &RequestHeader,
    response: P,
) -> Result<(), SocketError> {
    let message = ResponseMessage::new(header.correlation_id(), response);
    let mut sink = sink.lock().await;
    sink.send_response(&message, header.api_version()).await
}

async fn serve_controller(shared: Arc<Shared>, socket: FluvioSocket) -> Result<(), SocketError> {
    use AdminPublicDecodedRequest as Request;
    let (sink, mut stream) = socket.split();
    let sink = sink.as_shared();
    let mut requests = stream.api_stream::<Request, AdminPublicApiKey>();
    while let Some(request) = requests.next().await {
        match request? {
            Request::ApiVersionsRequest(message) => {
                let keys = [
                    AdminPublicApiKey::Create as u16,
                    AdminPublicApiKey::List as u16,
                    AdminPublicApiKey::Watch as u16,
                ];
                answer(&sink, &message.header, versions(&keys, SC_VERSION)).await?;
            }
            Request::CreateRequest(message) => {
                let create: Option<CreateRequest<TopicSpec>> =
                    message.request.downcast().unwrap_or_default();
                answer(&sink, &message.header, shared.made(create)).await?;
            }
            Request::ListRequest(message) => {
                let version = message.header.api_version();
                let list = shared.listed(&message.request, version);
                answer(&sink, &message.header, list.map_err(io::Error::other)?).await?;
            }
            // Who watches waits for changes, and here there are none that matter.
            _ => {}
        }
    }
    Ok(())
}

impl Shared {
    fn made(&self, create: Option<CreateRequest<TopicSpec>>) -> Status {
        let Some(create) = create else {
            return Status::new(String::new(), ErrorCode::InvalidCreateRequest, None);
        };
        let name = create.common.name;
        if !fluvio_sc_schema::topic::validate::valid_topic_name(&name) {
            return Status::new(name, ErrorCode::TopicInvalidName, None);
        }
        let mut topics = self.topics();
        if topics.topics.contains_key(&name) {
            return Status::new(name, ErrorCode::TopicAlreadyExists, None);
        }
        if create.request.replication_factor().unwrap_or(1) > 1 {
            let reason = "not enough SPUs".to_owned();
            return Status::new(name, ErrorCode::TopicInvalidConfiguration, Some(reason));
        }
        let partitions = create.request.partitions() as usize;
        let topic = topics.topics.entry(name.clone()).or_default();
        topic.resize_with(partitions, Partition::default);
        Status::new_ok(name)
    }

    fn listed(
        &self,
        request: &ObjectApiListRequest,
        version: Version,
    ) -> anyhow::Result<ObjectApiListResponse> {
        if asks_for::<PartitionSpec>(request) {
            let topics = self.topics();
            let partitions = topics.topics.iter().flat_map(|(topic, partitions)| {
                let name = move |number| format!("{topic}-{number}");
                (0..partitions.len()).map(move |number| Metadata {
                    name: name(number),
                    spec: PartitionSpec::new(SPU, vec![SPU]),
                    status: Default::default(),
                })
            });
            let found = ListResponse::new(partitions.collect());
            return ObjectApiListResponse::try_encode_from(found, version);
        }
        if asks_for::<SpuSpec>(request) {
            let (host, port) = self.spu.clone();
            let spu = Metadata {
                name: format!("custom-spu-{SPU}"),
                spec: SpuSpec::new_public_addr(SPU, port, host),
                status: Default::default(),
            };
            let found = ListResponse::new(vec![spu]);
            return ObjectApiListResponse::try_encode_from(found, version);
        }
        anyhow::bail!("the stand-in lists partitions and SPUs only")
    }
}

fn asks_for<S: AdminSpec>(request: &ObjectApiListRequest) -> bool
where
    ListRequest<S>: Encoder + fluvio_protocol::Decoder + std::fmt::Debug,
{
    let list: Option<ListRequest<S>> = request.downcast().unwrap_or_default();
    list.is_some()
}

async fn serve_spu(shared: Arc<Shared>, socket: FluvioSocket) -> Result<(), SocketError> {
    let (sink, stream) = socket.split();
    let connection = Connection {
        shared,
        sink: sink.as_shared(),
        acknowledged: HashMap::new(),
    };
    connection.serve(stream).await
}

/// A client of the SPU.
struct Connection {
    shared: Arc<Shared>,
    sink: ExclusiveFlvSink,
    /// How far the client has read each of its streams.
    acknowledged: HashMap<u32, (watch::Sender<i64>, AbortOnDropHandle<()>)>,
}

impl Connection {
    async fn serve(mut self, mut stream: FluvioStream) -> Result<(), SocketError> {
        use SpuServerRequest as Request;
        let mut requests = stream.api_stream::<Request, SpuServerApiKey>();
        while let Some(request) = requests.next().await {
            match request? {
                Request::ApiVersionsRequest(message) => {
                    let keys = [
                        SpuServerApiKey::Produce as u16,
                        SpuServerApiKey::Fetch as u16,
                        SpuServerApiKey::FetchOffsets as u16,
                        SpuServerApiKey::StreamFetch as u16,
                        SpuServerApiKey::UpdateOffsets as u16,
                    ];
                    answer(&self.sink, &message.header, versions(&keys, SPU_VERSION)).await?;
                }
                Request::ProduceRequest(message) => match self.shared.produced(message.request) {
                    Some(response) => answer(&self.sink, &message.header, response).await?,
                    None => return Ok(()),
                },
                Request::FileFetchRequest(message) => {
                    let response = self.shared.fetched(&message.request);
                    answer(&self.sink, &message.header, response).await?;
                }
                Request::FetchOffsetsRequest(message) => {
                    let response = self.shared.offsets(&message.request);
                    answer(&self.sink, &message.header, response).await?;
                }
                Request::FileStreamFetchRequest(message) => {
                    self.open(message.header, message.request);
                }
                Request::UpdateOffsetsRequest(message) => {
                    for update in &message.request.offsets {
                        if let Some((reader, _)) = self.acknowledged.get(&update.session_id) {
                            reader.send_replace(update.offset);
                        }
                    }
                    let response = UpdateOffsetsResponse::default();
                    answer(&self.sink, &message.header, response).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&mut self, header: RequestHeader, request: FileStreamFetchRequest) {
        let stream_id = {
            let mut topics = self.shared.topics();
            topics.streams += 1;
            topics.streams
        };
        let (reader, read) = watch::channel(request.fetch_offset);
        let (shared, sink) = (self.shared.clone(), self.sink.clone());
        let task = tokio::spawn(async move {
            // Ends with the connection.
            let _ = feed((shared, sink), header, (stream_id, request), read).await;
        });
        self.acknowledged
            .insert(stream_id, (reader, AbortOnDropHandle::new(task)));
    }
}

/// Give records of a stream, and more when its reader has read them.
async fn feed(
    (shared, sink): (Arc<Shared>, ExclusiveFlvSink),
    header: RequestHeader,
    (stream_id, request): (u32, FileStreamFetchRequest),
    mut read: watch::Receiver<i64>,
) -> Result<(), SocketError> {
    let mut changes = shared.changes.subscribe();
    let max_bytes = request.max_bytes as usize;
    let mut at = request.fetch_offset;
    loop {
        changes.borrow_and_update();
        let key = (request.topic.as_str(), request.partition);
        let partition = shared.partition(key, |partition| {
            partition_response(key.1, partition, |found| {
                found.read(at, max_bytes, request.isolation)
            })
        });
        let is_news = !partition.records.batches.is_empty();
        if is_news || partition.error_code != ErrorCode::None {
            let response = StreamFetchResponse {
                topic: request.topic.clone(),
                stream_id,
                partition,
            };
            answer(&sink, &header, response).await?;
            if !is_news || read.changed().await.is_err() {
                return Ok(());
            }
            at = *read.borrow_and_update();
        } else if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn partition_response(
    index: u32,
    partition: Option<&mut Partition>,
    read: impl FnOnce(&Partition) -> Raw,
) -> FetchablePartitionResponse<Raw> {
    let mut response = FetchablePartitionResponse {
        partition_index: index,
        ..Default::default()
    };
    match partition {
        None => response.error_code = ErrorCode::NotLeaderForPartition,
        Some(partition) => {
            response.high_watermark = partition.committed();
            response.log_start_offset = partition.start;
            response.records = read(partition);
        }
    }
    response
}

impl Shared {
    fn partition<T>(
        &self,
        (topic, partition): (&str, u32),
        use_it: impl FnOnce(Option<&mut Partition>) -> T,
    ) -> T {
        let mut topics = self.topics();
        let topic = topics.topics.get_mut(topic);
        use_it(topic.and_then(|topic| topic.get_mut(partition as usize)))
    }

    /// The answer to a write; `None` if the connection is to end instead.
    fn produced(&self, request: DefaultProduceRequest) -> Option<ProduceResponse> {
        let mut response = ProduceResponse::default();
        for topic in request.topics {
            let fault = self.topics().faults.remove(&topic.name);
            if fault == Some(Fault::Lost) {
                return None;
            }
            let mut partitions = Vec::new();
            for part in topic.partitions {
                let key = (topic.name.as_str(), part.partition_index);
                let (base_offset, error_code) = match fault {
                    Some(Fault::Refused) => (0, ErrorCode::StorageError),
                    _ => self.appended(key, part.records.batches),
                };
                partitions.push(PartitionProduceResponse {
                    partition_index: part.partition_index,
                    base_offset,
                    error_code,
                    ..Default::default()
                });
            }
            if fault == Some(Fault::AppendedUnanswered) {
                return None;
            }
            response.responses.push(TopicProduceResponse {
                name: topic.name,
                partitions,
            });
        }
        Some(response)
    }

    fn appended(&self, key: (&str, u32), batches: Vec<Batch<RawRecords>>) -> (i64, ErrorCode) {
        let max = self.topics().batch_bytes_max.unwrap_or(BATCH_BYTES_MAX);
        if batches.iter().any(|batch| batch.write_size(0) > max) {
            return (0, ErrorCode::MessageTooLarge);
        }
        let appended = self.partition(key, |partition| {
            let partition = partition.ok_or(ErrorCode::NotLeaderForPartition)?;
            let base = partition.end;
            batches
                .into_iter()
                .for_each(|batch| partition.append(batch));
            match partition.held_at {
                None => Ok(base),
                Some(_) => Err(ErrorCode::RequestTimedOut {
                    timeout_ms: 0,
                    kind: fluvio_protocol::api::RequestKind::Produce,
                }),
            }
        });
        self.changed();
        match appended {
            Ok(base) => (base, ErrorCode::None),
            Err(code) => (0, code),
        }
    }

    fn fetched(&self, request: &FileFetchRequest) -> FetchResponse<Raw> {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.fetch_partitions.iter().map(|part| {
                let (index, from) = (part.partition_index, part.fetch_offset);
                self.partition((&topic.name, index), |partition| {
                    partition_response(index, partition, |found| {
                        found.read(from, part.max_bytes as usize, request.isolation_level)
                    })
                })
            });
            FetchableTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        FetchResponse {
            topics: topics.collect(),
            ..Default::default()
        }
    }

    fn offsets(&self, request: &FetchOffsetsRequest) -> FetchOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|part| {
                let key = (topic.name.as_str(), part.partition_index);
                self.partition(key, |partition| {
                    let mut response = FetchOffsetPartitionResponse {
                        partition_index: key.1,
                        ..Default::default()
                    };
                    match partition {
                        None => response.error_code = ErrorCode::PartitionNotLeader,
                        Some(partition) => {
                            response.start_offset = partition.start;
                            response.last_stable_offset = partition.committed();
                        }
                    }
                    response
                })
            });
            FetchOffsetTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
            }
        });
        FetchOffsetsResponse {
            topics: topics.collect(),
        }
    }
}
