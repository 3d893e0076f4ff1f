-- The task queue's own file: the API writes here and nowhere else, so that a buyer's 202 never
-- waits for a transaction of the flow.

-- name: schema
CREATE TABLE idempotency_key (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    request_id TEXT NOT NULL
) WITHOUT ROWID;

-- name: claim_key
-- The first to use a key has it.
INSERT INTO idempotency_key (key, digest, request_id) VALUES (:key, :digest, :request_id)
ON CONFLICT (key) DO NOTHING;

-- name: key
-- Who had the key first, and for what.
SELECT digest, request_id FROM idempotency_key WHERE key = :key;

-- name: batches_at
-- Record batches that span a moment; looks at most 30 s past it, the longest a commit may take.
SELECT CAST(body AS BLOB) FROM record_batch
WHERE topic = :topic AND last_at_us BETWEEN :from_us AND :from_us + 30000000
  AND first_at_us < :to_us
ORDER BY last_at_us;
