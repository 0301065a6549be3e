"""The class exercise's ingest leg: a new Kafka producer for each event, flushed when it is closed."""

import json

import requests
from quixstreams import Application

import job


def main():
    job.end_on_sigterm()
    app = Application(
        broker_address=job.BROKERS,
        producer_extra_config={"acks": "all"},
        loglevel="WARNING",
    )
    headers = {"Accept": "text/event-stream", "User-Agent": "bench/1 (https://example.org)"}
    with requests.get(job.URL, headers=headers, stream=True, timeout=60) as response:
        response.raise_for_status()
        # The default chunk of 512 bytes would be read piece by piece.
        for line in response.iter_lines(chunk_size=64 * 1024):
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line.removeprefix(b"data: "))
            with app.get_producer() as producer:
                producer.produce(
                    topic=job.TOPIC, key=str(event["id"]), value=json.dumps(event)
                )


main()
