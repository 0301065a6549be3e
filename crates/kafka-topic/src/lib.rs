//! Kafka topics as a source and a sink: the only room with rdkafka
