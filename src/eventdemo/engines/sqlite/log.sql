-- The log of a topic: record batches in partitions, kept in order of their offsets.

-- name: schema
-- A record batch is a run of messages that were published together, as one JSON list. It is read
-- as bytes, so that a list that is no text is a dead letter like any other that can't be read.
CREATE TABLE record_batch (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    base_offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    first_at_us INTEGER NOT NULL,
    last_at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (topic, partition, base_offset)
);
CREATE INDEX record_batch_time ON record_batch (topic, last_at_us, first_at_us);

-- name: end_offset
-- Where the next record batch of a partition begins.
SELECT base_offset + size FROM record_batch
WHERE topic = ? AND partition = ? ORDER BY base_offset DESC LIMIT 1;

-- name: append
-- One record batch, at the end of its partition.
INSERT INTO record_batch (topic, partition, base_offset, size, first_at_us, last_at_us, body)
VALUES (
    ?1, ?2,
    coalesce((SELECT base_offset + size FROM record_batch
              WHERE topic = ?1 AND partition = ?2 ORDER BY base_offset DESC LIMIT 1), 0),
    ?3, ?4, ?5, ?6
);

-- name: read
-- Record batches of a partition from an offset on.
SELECT base_offset, size, CAST(body AS BLOB) FROM record_batch
WHERE topic = ? AND partition = ? AND base_offset >= ? ORDER BY base_offset;

-- name: waiting
-- What a partition holds from an offset on. Not bounded by a time: clocks can be set back.
SELECT CAST(body AS BLOB) FROM record_batch
WHERE topic = ? AND partition = ? AND base_offset >= ?;

-- name: oldest_waiting
-- When the first message from an offset on was published.
SELECT first_at_us FROM record_batch
WHERE topic = ? AND partition = ? AND base_offset >= ? ORDER BY base_offset LIMIT 1;

-- name: published_between
-- Record batches of a topic that hold messages of a span of time.
SELECT CAST(body AS BLOB) FROM record_batch
WHERE topic = ? AND last_at_us >= ? AND first_at_us <= ? AND partition = ?
ORDER BY last_at_us;

-- name: trim
-- Forgets handled record batches older than a moment, the oldest first, in the order of the index
-- on times: each call looks at little more than it removes. A partition's newest one stays, since
-- its end offset is where the next begins.
DELETE FROM record_batch WHERE id IN (
    SELECT id FROM record_batch AS old INDEXED BY record_batch_time
    WHERE topic = :topic AND last_at_us < :before_us
      AND base_offset + size <= json_extract(:handled, '$[' || partition || ']')
      AND EXISTS (SELECT 1 FROM record_batch AS newer WHERE newer.topic = old.topic
                  AND newer.partition = old.partition AND newer.base_offset > old.base_offset)
    ORDER BY last_at_us LIMIT :limit
);
