//! The schema of the file itself: everything but the connectors' own sections.

use crate::format::Format;
use crate::schema::{Schema, Type};
use crate::spec::{ConnectorSpec, Direction};

/// The one version of the file's format.
pub(crate) const API_VERSION: &str = "0.1.0";

/// Each copy is a consumer with threads and buffers of its own.
const REPLICAS_MAX: u32 = 256;

const SCALAR: [Type; 4] = [Type::String, Type::Integer, Type::Number, Type::Boolean];

fn api_version() -> Schema {
    Schema::choice(&[API_VERSION]).about("Version of this format.")
}

fn name(what: &str) -> Schema {
    Schema::text(Format::Name).about(what)
}

fn size(what: &str) -> Schema {
    let mut schema = Schema::any_of(&[Type::String, Type::Integer]).about(what);
    schema.format = Some(Format::Size);
    schema.minimum = Some(1.0);
    schema
}

fn duration(what: &str) -> Schema {
    Schema::text(Format::Duration).about(what)
}

fn delivery() -> Schema {
    Schema::choice(&["exactly-once", "at-least-once"])
        .about("What a crash may do: nothing (transactions), or repeat some records.")
        .or_default("exactly-once")
}

fn secrets() -> Schema {
    let item = Schema::object()
        .require(
            "name",
            Schema::of(Type::String)
                .about("Used as `${{ secrets.NAME }}`.")
                .example("REDIS_PASSWORD"),
        )
        .about("A secret that the file uses.");
    Schema::list_of(item).about("Secrets that may be filled in; their values come from outside.")
}

/// The top of a `pipeline.yaml`. Connectors are checked one by one, by [`connector`].
pub(crate) fn pipeline() -> Schema {
    let meta = Schema::object()
        .about("What the pipeline is called.")
        .require(
            "name",
            name("The pipeline's name: part of its transactional ids.").example("wikipedia"),
        )
        .with(
            "version",
            Schema::text(Format::Version).about("The pipeline's version."),
        )
        .with("secrets", secrets());
    let connectors = Schema {
        length_min: Some(1),
        ..Schema::list_of(Schema::anything())
            .about("The stages: sources into topics, sinks out of them.")
    };
    shared(
        Schema {
            extensions: true,
            title: Some("Gristmill pipeline".to_owned()),
            ..Schema::object()
        }
        .require("apiVersion", api_version())
        .require("meta", meta),
    )
    .require("connectors", connectors)
}

fn shared(schema: Schema) -> Schema {
    let mut brokers = Schema {
        items: Some(Box::new(Schema::text(Format::Broker))),
        length_min: Some(1),
        ..Schema::any_of(&[Type::Array, Type::String])
    }
    .about("Some brokers, each `host:port`: a list, or a text with commas.");
    brokers.format = Some(Format::Brokers);
    brokers
        .examples
        .push(serde_json::json!(["127.0.0.1:19092", "127.0.0.1:29092"]));
    let kafka = Schema::object()
        .about("The cluster that holds the topics. Not needed with embedded topics.")
        .require("brokers", brokers)
        .with("tls", kafka_tls())
        .with("sasl", kafka_sasl())
        .with(
            "properties",
            Schema::map_of(Schema::any_of(&SCALAR))
                .about("librdkafka's other properties, such as `socket.timeout.ms`.")
                .with_secrets(),
        )
        .hint(
            "delivery",
            "put it at the top of the file, or into a source's `meta.producer`",
        )
        .hint("ssl", "it is called `tls`: `tls: true`")
        .hint("ca-file", "it belongs into `tls`: `tls: {ca-file: ca.pem}`")
        .hint("mechanism", "it belongs into `sasl`")
        .hint("username", "it belongs into `sasl`")
        .hint("password", "it belongs into `sasl`");
    let fluvio = Schema::object()
        .about("The Fluvio cluster that holds the topics, instead of `kafka`. Needs a build with the feature `fluvio`.")
        .require(
            "endpoint",
            Schema::text(Format::Broker)
                .about("The cluster's controller (SC): `host:port`.")
                .example("127.0.0.1:9003"),
        )
        .hint("tls", "Gristmill reaches Fluvio without TLS only: run both in one network, or through a tunnel")
        .hint("profile", "write the `endpoint` that the profile has: `fluvio profile list`");
    let topic = Schema::object()
        .about("A topic, made if it is missing.")
        .with("partitions", Schema::of(Type::Integer).range(1.0, 100_000.0).or_default(1)
            .about("How many partitions: the most consumers that can share the topic.").example(3))
        .with("replication-factor", Schema::of(Type::Integer).range(1.0, 32_767.0)
            .about("Copies of each partition, at most one a broker; the cluster's default unless said.").example(3))
        .with("config", Schema::map_of(Schema::any_of(&SCALAR)).about("The topic's own configuration, such as `retention.ms`."));
    let mut topics = Schema::map_of(topic).about("The topics that connectors write and read.");
    topics.names = Some(Box::new(Schema::text(Format::Topic)));
    schema
        .with("delivery", delivery())
        .with("kafka", kafka)
        .with("fluvio", fluvio)
        .with("topics", topics)
        .with("metrics", metrics())
        .hint("brokers", "it belongs into `kafka`")
        .hint("name", "it belongs into `meta`")
}

fn file(what: &str, example: &str) -> Schema {
    Schema::text(Format::File).about(what).example(example)
}

fn kafka_tls() -> Schema {
    Schema::any_of(&[Type::Boolean, Type::Object])
        .about("TLS to the brokers: `true`, or with which certificates. Paths count from the file's folder.")
        .example(true)
        .with(
            "ca-file",
            file(
                "PEM file with the CAs that brokers' certificates are signed by, instead of this machine's.",
                "ca.pem",
            ),
        )
        .with(
            "cert-file",
            file("PEM file with the certificate to show to brokers.", "client.pem"),
        )
        .with(
            "key-file",
            file("PEM file with the certificate's private key.", "client.key"),
        )
        .with(
            "key-password",
            Schema::of(Type::String)
                .about("Of the private key, if a password protects it.")
                .example("${{ secrets.KAFKA_KEY_PASSWORD }}"),
        )
        .with_secrets()
}

fn kafka_sasl() -> Schema {
    Schema::object()
        .about("The login at the brokers.")
        .require(
            "mechanism",
            Schema::choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
                .about("How the password is shown: PLAIN as it is, so only with `tls`."),
        )
        .require(
            "username",
            Schema::of(Type::String)
                .about("The user.")
                .example("gristmill"),
        )
        .require(
            "password",
            Schema::of(Type::String)
                .about("The password; best a secret.")
                .example("${{ secrets.KAFKA_PASSWORD }}"),
        )
        .with_secrets()
}

fn metrics() -> Schema {
    let mut listen = Schema::any_of(&[Type::String, Type::Integer])
        .about(
            "Where the web page, `/metrics` (Prometheus) and probes are served: an address and a \
             port, or a port on loopback.",
        )
        .range(0.0, 65_535.0)
        .example("127.0.0.1:9464");
    listen.format = Some(Format::Listen);
    Schema::object()
        .about("What a running pipeline tells about itself, and where.")
        .with("listen", listen)
        .hint("port", "write `listen: 127.0.0.1:9464`")
}

fn producer() -> Schema {
    Schema::object()
        .about("How a source writes its topic.")
        .with(
            "linger",
            duration("How long a record may wait for company.").example("5ms"),
        )
        .with("batch-size", size("Bytes of a batch.").example("64 KiB"))
        .with(
            "compression",
            Schema::choice(&["none", "gzip", "snappy", "lz4", "zstd"]).about("Of the batches."),
        )
        .with("delivery", delivery())
}

fn consumer() -> Schema {
    let partition = Schema {
        items: Some(Box::new(
            Schema::of(Type::Integer).range(0.0, 2_147_483_647.0),
        )),
        ..Schema::any_of(&[Type::Integer, Type::Array, Type::String])
            .about("Only this partition, or these; `all` unless said.")
            .range(0.0, 2_147_483_647.0)
            .or_default("all")
    };
    let offset = Schema::object().about("Where to start.").with(
        "start",
        Schema::choice(&["beginning", "end"])
            .or_default("beginning")
            .about("Where a sink without a stored position starts."),
    );
    Schema::object()
        .about("How a sink reads its topic.")
        .with(
            "id",
            Schema {
                length_min: Some(1),
                length_max: Some(249),
                ..Schema::of(Type::String)
            }
            .about("The consumer group; the connector's name unless said.")
            .example("wikipedia-consumer"),
        )
        .with("partition", partition)
        .with("offset", offset)
}

fn transform() -> Schema {
    let lookback = Schema::object()
        .about("Records to show the module before it starts.")
        .require(
            "last",
            Schema::of(Type::Integer)
                .range(0.0, 4_294_967_295.0)
                .about("At most so many.")
                .example(100),
        )
        .with("age", duration("None older than this.").example("1h"));
    let limits = Schema::object()
        .about("What one call of the module may take.")
        .with(
            "time",
            duration("Time of a call, 1 ms to 1 h; 1s unless said.").example("500ms"),
        )
        .with(
            "memory",
            size("Linear memory, 64 KiB to 4 GiB; 64 MiB unless said.").example("64 MiB"),
        )
        .with(
            "output",
            size("Output of a call, 1 KiB to 256 MiB; 16 MiB unless said.").example("16 MiB"),
        );
    Schema::object()
        .about("A SmartModule that every record goes through.")
        .require(
            "uses",
            Schema::text(Format::Module)
                .about("`name@version`, or a path to a `.wasm` file.")
                .example("extract-type@0.1.0"),
        )
        .with(
            "with",
            Schema::map_of(Schema::any_of(&SCALAR))
                .about("The module's parameters.")
                .with_secrets(),
        )
        .with("lookback", lookback)
        .with("limits", limits)
}

/// One connector config, by itself (`single`) or in a pipeline's list. Without a spec the type is
/// not known, and whatever is not common to all connectors is let through.
pub(crate) fn connector(
    specs: &[ConnectorSpec],
    spec: Option<&ConnectorSpec>,
    single: bool,
) -> Schema {
    let types: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let mut meta = Schema::object()
        .about("What the stage is called, what it is and which topic it has.")
        .require(
            "name",
            name("The stage's name, distinct in the pipeline.").example("type-counts"),
        )
        .require(
            "type",
            Schema::choice(&types).about("The kind of connector."),
        )
        .require(
            "version",
            Schema::text(Format::Version).about("The connector's version."),
        )
        .require(
            "topic",
            Schema::text(Format::Topic)
                .about("The topic that a source writes and a sink reads.")
                .example("wikipedia-edits"),
        )
        .with("secrets", secrets());
    let direction = spec.map(|spec| spec.direction);
    if direction != Some(Direction::Sink) {
        meta = meta.with("producer", producer());
    } else {
        meta = meta.hint("producer", "it is for sources; a sink has `consumer`");
    }
    if direction != Some(Direction::Source) {
        meta = meta.with("consumer", consumer());
    } else {
        meta = meta.hint("consumer", "it is for sinks; a source has `producer`");
    }
    let mut schema = Schema::object().about("A stage: a source or a sink.");
    if single {
        schema = shared(schema.require("apiVersion", api_version()));
        schema.extensions = true;
    } else {
        schema = schema.with("apiVersion", api_version());
    }
    schema = schema
        .require("meta", meta)
        .with(
            "replicas",
            Schema::of(Type::Integer)
                .range(1.0, f64::from(REPLICAS_MAX))
                .or_default(1)
                .about(
                    "Copies of a sink that run at once, in this process: they share the topic's \
                     partitions. More of them run wherever the same file is started.",
                )
                .example(2),
        )
        .with(
            "transforms",
            Schema::list_of(transform()).about("SmartModules, in order."),
        );
    let own = |key: &str| spec.is_some_and(|spec| spec.section == key);
    match spec {
        Some(spec) if spec.schema.required.is_empty() => {
            schema = schema.with(&spec.section, spec.schema.clone());
        }
        Some(spec) => schema = schema.require(&spec.section, spec.schema.clone()),
        None => schema.additional = crate::schema::Additional::Any,
    }
    if let Some(spec) = spec {
        for other in specs.iter().filter(|other| !own(&other.section)) {
            schema.sections.push((
                other.section.clone(),
                spec.section.clone(),
                format!(
                    "`{}` is the section of {}; {} has `{}`",
                    other.section, other.name, spec.name, spec.section
                ),
            ));
        }
        for key in [
            "type", "topic", "version", "name", "consumer", "producer", "secrets",
        ] {
            schema = schema.hint(key, "it belongs into `meta`");
        }
        for key in ["copies", "parallelism", "instances"] {
            schema = schema.hint(key, "write `replicas`");
        }
    }
    schema
}
