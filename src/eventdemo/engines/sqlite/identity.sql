-- The identity of a file: the event pool that it holds or belongs to.

-- name: schema
CREATE TABLE identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    pool_id TEXT NOT NULL,
    holds_pool INTEGER NOT NULL
);

-- name: claim
-- Once; a file never changes its pool.
INSERT INTO identity VALUES (1, ?, ?);

-- name: identity
-- No row in a file that nobody claimed.
SELECT pool_id, holds_pool FROM identity;

-- name: unknown
-- Stands for the table in a file of an earlier schema that is only read.
CREATE TEMP TABLE identity (pool_id TEXT, holds_pool INTEGER);
