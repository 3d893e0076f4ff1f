-- Streams that are set aside because one of their events cannot be read, and what is kept back.

-- name: schema
-- A stream is in the first table as long as the second one holds positions of its events.
CREATE TABLE set_aside (
    stream TEXT PRIMARY KEY,
    product_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    version INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX set_aside_by_product ON set_aside (product_id);
CREATE TABLE kept_back (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL
);
CREATE INDEX kept_back_by_stream ON kept_back (stream, position);

-- name: all_set_aside
-- The streams that are set aside, in the order of positions.
SELECT stream, product_id, position, version, reason FROM set_aside ORDER BY position;

-- name: count_set_aside
-- How many streams are set aside.
SELECT count(*) FROM set_aside;

-- name: set_aside
-- Sets a stream aside from an event on.
INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?, ?);

-- name: end_set_aside
-- Nothing of the stream is kept back.
DELETE FROM set_aside WHERE stream = ?;

-- name: keep_back
-- Keeps an event back.
INSERT INTO kept_back VALUES (?, ?);

-- name: kept_back
-- The first positions that are kept back of a stream.
SELECT position FROM kept_back WHERE stream = ? ORDER BY position LIMIT ?;

-- name: release
-- An event is projected with this transaction.
DELETE FROM kept_back WHERE position = ?;

-- name: name_product
-- Adds a product of which nothing could be read yet.
INSERT OR IGNORE INTO products VALUES (?, '', 0, 0, 0, 0, 0);
