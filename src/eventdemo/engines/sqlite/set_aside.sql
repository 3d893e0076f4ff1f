-- Messages that left their batch: those to be handled again, and those that were given up. What is
-- kept is what came, byte for byte; only what is a JSON text can be asked for its parts.

-- name: due_retries
-- Those whose time has come, the longest overdue first. What seems to be due in a far future was
-- scheduled before the clock was set back.
SELECT id, attempt, redriven_from, CAST(body AS BLOB) FROM retry
WHERE service = :service
  AND (due_at_us <= :now_us OR due_at_us > :now_us + :furthest_us)
ORDER BY due_at_us, id LIMIT :limit;

-- name: next_retry_due
-- When the next retry of a service is due.
SELECT min(due_at_us) FROM retry WHERE service = ?;

-- name: add_retry
-- A message that is to be handled again.
INSERT INTO retry (service, due_at_us, attempt, reason, body, redriven_from)
VALUES (?, ?, ?, ?, ?, ?);

-- name: take_retry
-- Acknowledges a retry, for one instance only.
DELETE FROM retry WHERE id = ? AND attempt = ?;

-- name: count_retries
-- Messages that were delivered and are not settled, by service.
SELECT service, count(*) FROM retry GROUP BY service;

-- name: oldest_retries
-- When the oldest message that is to be handled again was said, by service; a body that is no
-- message says nothing.
SELECT service, min(CAST(body AS TEXT) ->> 3) FROM retry
WHERE CASE WHEN json_valid(CAST(body AS TEXT))
      THEN json_type(CAST(body AS TEXT), '$[3]') = 'integer' END
GROUP BY service;

-- name: set_aside
-- One purchase's messages that are to be handled again or were given up.
SELECT CAST(body AS BLOB) FROM retry
WHERE CASE WHEN json_valid(CAST(body AS TEXT)) THEN CAST(body AS TEXT) ->> 1 END = :request_id
UNION ALL
SELECT body FROM dead_letter WHERE correlation_id = :request_id;

-- name: add_dead_letter
-- A message that was given up.
INSERT INTO dead_letter (service, topic, message_id, correlation_id, body, reason, stack, attempts,
                         at_us, redriven_from)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dead_letters
-- A page of those that meet what is given. A purchase's own are found by its index.
SELECT service, topic, message_id, correlation_id, body, reason, stack, attempts, at_us, id,
       redriven_at_us, discarded_at_us, redriven_from
FROM dead_letter
WHERE id IN (SELECT id FROM dead_letter WHERE :request_id IS NULL AND id > :after_id
             UNION ALL
             SELECT id FROM dead_letter WHERE correlation_id = :request_id AND id > :after_id)
  AND (:up_to_id IS NULL OR id <= :up_to_id)
  AND (:service IS NULL OR service = :service)
  AND (:topic IS NULL OR topic = :topic)
  AND (:reason IS NULL OR instr(lower(reason), lower(:reason)))
  AND (:state IS NULL OR :state = CASE WHEN redriven_at_us IS NOT NULL THEN 'redriven'
                                       WHEN discarded_at_us IS NOT NULL THEN 'discarded'
                                       ELSE 'dead' END)
  AND (:product_id IS NULL
       OR CASE WHEN json_valid(CAST(body AS TEXT))
          THEN CAST(body AS TEXT) ->> '$[4].product_id' END = :product_id)
ORDER BY id LIMIT :limit;

-- name: dead_letter
-- One of them.
SELECT service, topic, message_id, correlation_id, body, reason, stack, attempts, at_us, id,
       redriven_at_us, discarded_at_us, redriven_from
FROM dead_letter WHERE id = ?;

-- name: last_dead_letter
-- The newest one's id.
SELECT coalesce(max(id), 0) FROM dead_letter;

-- name: mark_redriven
-- Sent again: no longer among the dead.
UPDATE dead_letter SET redriven_at_us = ? WHERE id = ?;

-- name: mark_discarded
-- Dealt with: no longer among the dead.
UPDATE dead_letter SET discarded_at_us = ? WHERE id = ?;

-- name: count_dead_letters
-- Those that nobody has dealt with, by service.
SELECT service, count(*) FROM dead_letter
WHERE redriven_at_us IS NULL AND discarded_at_us IS NULL GROUP BY service;
