-- Pipeline `wikipedia-windows` on Arroyo, by `gristmill export arroyo`. What brings records into the topics
-- stays with Gristmill (`gristmill up --only …`): it resumes a stream exactly.
-- A record that is no JSON is NULL here and left out: SQL has no dead letters.

CREATE TABLE wikipedia_edits_windowed_late_60000ms (
  value TEXT NOT NULL,
  record_ms BIGINT METADATA FROM 'timestamp',
  event_time TIMESTAMP GENERATED ALWAYS AS (to_timestamp_millis(record_ms)),
  WATERMARK FOR event_time AS event_time - INTERVAL '60000 milliseconds'
) WITH (
  connector = 'kafka',
  bootstrap_servers = 'redpanda-0:9092,redpanda-1:9092,redpanda-2:9092',
  topic = 'wikipedia-edits-windowed',
  type = 'source',
  format = 'raw_string',
  'source.offset' = 'earliest',
  'source.read_mode' = 'read_committed',
  'source.group_id_prefix' = 'wikipedia-tumbling-window'
);

CREATE TABLE type_windows (
  window_start TEXT NOT NULL,
  counted TEXT NOT NULL,
  count BIGINT NOT NULL
) WITH (
  connector = 'redis',
  type = 'sink',
  format = 'json',
  address = 'redis://redis:6379/0',
  target = 'hash',
  'target.key_prefix' = 'type-windows:window:',
  'target.key_column' = 'window_start',
  'target.field_column' = 'counted'
);

INSERT INTO type_windows
SELECT CAST(window.start AS TEXT), counted, count FROM (
  SELECT TUMBLE(INTERVAL '180000 milliseconds') AS window, counted, count(*) AS count
  FROM (SELECT extract_type('type', value) AS counted FROM wikipedia_edits_windowed_late_60000ms)
  WHERE counted IS NOT NULL
  GROUP BY window, counted
);
