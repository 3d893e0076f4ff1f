-- The tables of the contenders that keep products and orders in PostgreSQL. A purchase is an
-- order from the first moment, confirmed or failed, so that each costs one row and one index.
-- The lock is for several workers that start at once.
SELECT pg_advisory_xact_lock(1);

CREATE TABLE IF NOT EXISTS products (
    id text PRIMARY KEY,
    name text NOT NULL,
    price_cents bigint NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved <= received)
) WITH (fillfactor = 50);  -- room for new versions of a row beside it (heap-only updates)

CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY,
    product_id text NOT NULL,
    quantity integer NOT NULL,
    unit_price_cents bigint NOT NULL,
    outcome text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
