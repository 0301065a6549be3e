"""The class exercise's count leg with one Redis connection and its INCRs pipelined.

Offsets are stored once the pipeline has been answered and committed in the background: at least
once.
"""

import orjson
import redis
from quixstreams import Application

import job

# A pipeline's length; redis-py buffers it whole, and longer ones are no faster.
PIPELINE_MAX = 1000


def main():
    job.end_on_sigterm()
    app = Application(
        broker_address=job.BROKERS,
        consumer_group=job.GROUP,
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    client = redis.Redis.from_url(job.REDIS)
    # Not a MULTI: nothing here needs the increments to be one transaction.
    pipeline = client.pipeline(transaction=False)
    # The newest message of each partition that the pipeline covers.
    covered = {}
    gathered = 0
    with app.get_consumer() as consumer:
        consumer.subscribe([job.TOPIC])
        while True:
            # A message that is there already is taken at once. With none there, what was gathered
            # is written before the next wait.
            message = consumer.poll(0 if gathered else 1.0)
            if message is not None:
                if message.error():
                    raise RuntimeError(message.error())
                kind = orjson.loads(message.value()).get("type")
                if kind is not None:
                    pipeline.incr(kind)
                covered[message.partition()] = message
                gathered += 1
            if gathered >= PIPELINE_MAX or (message is None and gathered):
                pipeline.execute()
                for newest in covered.values():
                    consumer.store_offsets(newest)
                covered.clear()
                gathered = 0


main()
