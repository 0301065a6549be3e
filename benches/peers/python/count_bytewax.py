"""Bytewax's count leg: its Kafka input, the type of each event, counts in Redis.

What a batch of the input comes to is written as one pipeline of INCRBYs. Positions are in Bytewax's
recovery store, of epochs whose records are through the sink: at least once.
"""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import orjson
import redis
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

import job


class CountPartition(StatelessSinkPartition):
    """Adds a batch's types to the counts, in one round trip."""

    def __init__(self):
        self._client = redis.Redis.from_url(job.REDIS)

    def write_batch(self, items):
        pipeline = self._client.pipeline(transaction=False)
        for kind, count in Counter(items).items():
            pipeline.incrby(kind, count)
        pipeline.execute()

    def close(self):
        self._client.close()


class CountSink(DynamicSink):
    """Counts in Redis, a connection a worker."""

    def build(self, step_id, worker_index, worker_count):
        return CountPartition()


def kind(message):
    return orjson.loads(message.value).get("type")


def main():
    flow = Dataflow("count")
    source = KafkaSource(job.BROKERS.split(","), [job.TOPIC], batch_size=1000)
    stream = op.input("topic", flow, source)
    # One step that parses and takes out: two cost twice as much, one of whole batches no less.
    stream = op.filter_map("types", stream, kind)
    op.output("counts", stream, CountSink())
    # As `python -m bytewax.run -r … -s 10 -b 0` would.
    init_db_dir(Path(job.DIR), 1)
    cli_main(flow, epoch_interval=timedelta(seconds=10), recovery_config=RecoveryConfig(job.DIR))


main()
