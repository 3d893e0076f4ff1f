-- The flow's file: event pool, topics, session cache, all changed by one batch in one transaction.

-- name: schema
-- Positions count without gaps because writers exclude each other and nothing is ever deleted.
CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    causation_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    correlation_id TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (stream, version)
);
-- A recording is appended whole or not at all, so its first event stands for all of it.
CREATE UNIQUE INDEX event_cause ON event (causation_id) WHERE ordinal = 0;
CREATE TABLE snapshot (
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream, version)
) WITHOUT ROWID;
CREATE TABLE subscription (
    service TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (service, partition)
) WITHOUT ROWID;
-- No id comes twice: an instance that is late would settle another message's retry by it.
CREATE TABLE retry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    due_at_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    redriven_from INTEGER
);
CREATE INDEX retry_due ON retry (service, due_at_us);
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    topic TEXT NOT NULL,
    message_id TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    body BLOB NOT NULL,
    reason TEXT NOT NULL,
    stack TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    redriven_at_us INTEGER,
    discarded_at_us INTEGER,
    redriven_from INTEGER
);
CREATE INDEX dead_letter_request ON dead_letter (correlation_id);
CREATE INDEX dead_letter_open ON dead_letter (service)
WHERE redriven_at_us IS NULL AND discarded_at_us IS NULL;
-- No cursor comes twice, even when outcomes are deleted: who follows them would miss the new ones.
CREATE TABLE session (
    cursor INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
);

-- name: upgrade_to_2
-- What files of schema 1 lack. Their retries had ids that could come twice.
DROP INDEX retry_due;
ALTER TABLE retry RENAME TO retry_1;
CREATE TABLE retry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    due_at_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    redriven_from INTEGER
);
CREATE INDEX retry_due ON retry (service, due_at_us);
INSERT INTO retry (service, due_at_us, attempt, reason, body)
SELECT service, due_at_us, attempt, reason, CAST(body AS BLOB) FROM retry_1 ORDER BY id;
DROP TABLE retry_1;
ALTER TABLE dead_letter ADD COLUMN discarded_at_us INTEGER;
ALTER TABLE dead_letter ADD COLUMN redriven_from INTEGER;
CREATE INDEX dead_letter_request ON dead_letter (correlation_id);
CREATE INDEX dead_letter_open ON dead_letter (service)
WHERE redriven_at_us IS NULL AND discarded_at_us IS NULL;

-- name: append_event
-- The position is the next one, since no event is ever deleted.
INSERT INTO event (stream, version, causation_id, ordinal, correlation_id, at_us, body)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: missing_version
-- Those of the named streams that do not hold the version they are expected to be at.
SELECT wanted.value ->> 0 FROM json_each(?) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM event WHERE stream = wanted.value ->> 0
                  AND version = wanted.value ->> 1);

-- name: head
-- The last position.
SELECT coalesce(max(position), 0) FROM event;

-- name: read_streams
-- What the named streams hold after a version each.
SELECT event.position, event.stream, event.version, event.causation_id, event.ordinal,
       event.correlation_id, event.at_us, event.body
FROM json_each(?) AS wanted
CROSS JOIN event ON event.stream = wanted.value ->> 0 AND event.version > wanted.value ->> 1
ORDER BY wanted.key, event.version;

-- name: read_stream
-- A page of one stream.
SELECT position, stream, version, causation_id, ordinal, correlation_id, at_us, body
FROM event WHERE stream = ? AND version > ? ORDER BY version LIMIT ?;

-- name: read_all
-- A page of the pool.
SELECT position, stream, version, causation_id, ordinal, correlation_id, at_us, body
FROM event WHERE position > ? ORDER BY position LIMIT ?;

-- name: read_all_bytes
-- The same where a body may be no text at all.
SELECT position, stream, version, causation_id, ordinal, correlation_id, at_us, CAST(body AS BLOB)
FROM event WHERE position > ? ORDER BY position LIMIT ?;

-- name: caused_by
-- A recording's events have neighbouring positions, the first of which its index finds.
SELECT position, stream, version, causation_id, ordinal, correlation_id, at_us, body
FROM event
WHERE position >= (SELECT position FROM event WHERE causation_id = :causation_id AND ordinal = 0)
  AND position < (SELECT position FROM event WHERE causation_id = :causation_id AND ordinal = 0)
                 + :limit
  AND causation_id = :causation_id
ORDER BY position;

-- name: save_snapshot
-- A version's state never differs, but its shape may.
INSERT INTO snapshot (stream, version, at_us, shape, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (stream, version) DO UPDATE SET shape = excluded.shape, body = excluded.body;

-- name: latest_snapshots
-- The latest of each named stream in today's shape.
SELECT stream, version, at_us, body FROM snapshot AS kept
JOIN json_each(:streams) AS wanted ON kept.stream = wanted.value
WHERE kept.version = (SELECT max(version) FROM snapshot
                      WHERE stream = kept.stream AND shape = :shape);

-- name: snapshot_before
-- The latest one not after a version and not after a time.
SELECT stream, version, at_us, body FROM snapshot
WHERE stream = :stream AND shape = :shape AND version <= :at_version AND at_us <= :at_us
ORDER BY version DESC LIMIT 1;

-- name: subscribe
-- Every service reads every partition from its beginning.
INSERT INTO subscription (service, partition, next_offset) VALUES (?, ?, 0)
ON CONFLICT (service, partition) DO NOTHING;

-- name: offsets
-- Where a service is in each partition.
SELECT partition, next_offset FROM subscription WHERE service = ? ORDER BY partition;

-- name: progress
-- How many messages of its topic each service has before it and behind it.
SELECT subscription.service, sum(coalesce((
           SELECT base_offset + size FROM record_batch
           WHERE topic = hears.value AND partition = subscription.partition
           ORDER BY base_offset DESC LIMIT 1), 0)), sum(next_offset)
FROM json_each(:hears) AS hears JOIN subscription ON subscription.service = hears.key
GROUP BY subscription.service;

-- name: acknowledge
-- Succeeds for one instance only: whoever finds the offset where it began to read.
UPDATE subscription SET next_offset = :end
WHERE service = :service AND partition = :partition AND next_offset = :start;

-- name: put_outcome
-- The first outcome kept for a request stays.
INSERT INTO session (request_id, body) VALUES (?, ?) ON CONFLICT (request_id) DO NOTHING;

-- name: outcome
-- What became of one request.
SELECT body FROM session WHERE request_id = ?;

-- name: outcomes_after
-- Outcomes in the order in which they came.
SELECT cursor, request_id, body FROM session WHERE cursor > ? ORDER BY cursor LIMIT ?;

-- name: last_outcome
-- The cursor of the last outcome.
SELECT coalesce(max(cursor), 0) FROM session;
