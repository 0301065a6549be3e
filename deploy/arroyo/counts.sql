-- Pipeline `wikipedia` on Arroyo, by `gristmill export arroyo`. What brings records into the topics
-- stays with Gristmill (`gristmill up --only …`): it resumes a stream exactly.
-- A record that is no JSON is NULL here and left out: SQL has no dead letters.

SET updating_ttl = '10000 days';

CREATE TABLE wikipedia_edits (
  value TEXT NOT NULL
) WITH (
  connector = 'kafka',
  bootstrap_servers = 'redpanda-0:9092,redpanda-1:9092,redpanda-2:9092',
  topic = 'wikipedia-edits',
  type = 'source',
  format = 'raw_string',
  'source.offset' = 'earliest',
  'source.read_mode' = 'read_committed',
  'source.group_id_prefix' = 'wikipedia-consumer'
);

CREATE TABLE type_counts_totals (
  counted TEXT NOT NULL,
  count BIGINT NOT NULL
) WITH (
  connector = 'kafka',
  bootstrap_servers = 'redpanda-0:9092,redpanda-1:9092,redpanda-2:9092',
  topic = 'type-counts-totals',
  type = 'sink',
  format = 'debezium_json',
  'sink.commit_mode' = 'exactly_once'
);

INSERT INTO type_counts_totals
SELECT counted, count(*) AS count
FROM (SELECT extract_type('type', value) AS counted FROM wikipedia_edits)
WHERE counted IS NOT NULL
GROUP BY counted;
