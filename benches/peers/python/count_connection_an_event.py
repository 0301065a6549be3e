"""The class exercise's count leg: a new Redis connection and one INCR for each event.

Offsets are stored after the INCR and committed in the background: at least once.
"""

import json

import redis
from quixstreams import Application

import job


def main():
    job.end_on_sigterm()
    app = Application(
        broker_address=job.BROKERS,
        consumer_group=job.GROUP,
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    with app.get_consumer() as consumer:
        consumer.subscribe([job.TOPIC])
        while True:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise RuntimeError(message.error())
            kind = json.loads(message.value()).get("type")
            if kind is not None:
                with redis.Redis.from_url(job.REDIS) as client:
                    client.incr(kind)
            consumer.store_offsets(message)


main()
