-- The read models' tables, what the projector does to them and what readers ask of them.

-- name: settings
-- A power cut may take the last commits of a model, never its consistency: that is what NORMAL
-- means under WAL. What is lost is read from the event pool again, so fsync would buy nothing.
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 16000;
PRAGMA cache_size = -65536;

-- name: schema
-- ``state`` holds the last event that the other tables contain, changed in their transaction.
-- Revenue is kept as units by price: their product may not fit into 64 bits.
-- The index on order ids is not unique: should two ever collide, reading goes on and the audit
-- tells.
CREATE TABLE state (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    position INTEGER NOT NULL,
    last_event_id TEXT NOT NULL
);
INSERT INTO state VALUES (1, 0, '');
CREATE TABLE products (
    product_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    received INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    version INTEGER NOT NULL,
    retired INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE orders (
    position INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    unit_price_cents INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL
);
CREATE INDEX orders_by_id ON orders (order_id);
CREATE INDEX orders_by_product ON orders (product_id, position);
CREATE TABLE sales (
    product_id TEXT NOT NULL,
    unit_price_cents INTEGER NOT NULL,
    orders INTEGER NOT NULL,
    units INTEGER NOT NULL,
    PRIMARY KEY (product_id, unit_price_cents)
) WITHOUT ROWID;
CREATE TABLE failures (
    product_id TEXT NOT NULL,
    code TEXT NOT NULL,
    purchases INTEGER NOT NULL,
    PRIMARY KEY (product_id, code)
) WITHOUT ROWID;

-- name: state
-- How far this model has come.
SELECT position, last_event_id FROM state;

-- name: advance
-- Changes no row if another projector was here first.
UPDATE state SET position = :position, last_event_id = :last_event_id
WHERE position = :from_position;

-- name: change_product
-- Adds a page's changes to a product: its id, name, price, units received and reserved, version,
-- whether it is retired. What is null leaves what stands.
INSERT INTO products VALUES (?1, coalesce(?2, ''), coalesce(?3, 0), ?4, ?5, ?6, coalesce(?7, 0))
ON CONFLICT (product_id) DO UPDATE SET
    name = coalesce(?2, name),
    price_cents = coalesce(?3, price_cents),
    received = received + ?4,
    reserved = reserved + ?5,
    version = ?6,
    retired = coalesce(?7, retired);

-- name: add_order
-- One order.
INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_sales
-- Adds a page's orders of one product at one price.
INSERT INTO sales VALUES (?, ?, ?, ?)
ON CONFLICT (product_id, unit_price_cents) DO UPDATE SET
    orders = orders + excluded.orders, units = units + excluded.units;

-- name: add_failures
-- Adds a page's failed purchases of one product with one code.
INSERT INTO failures VALUES (?, ?, ?)
ON CONFLICT (product_id, code) DO UPDATE SET purchases = purchases + excluded.purchases;

-- name: products
-- A page of the catalogue in the order of ids, with the retired products if asked for.
SELECT product_id, name, price_cents, received, reserved, received - reserved, version, retired,
    EXISTS (SELECT 1 FROM set_aside WHERE set_aside.product_id = products.product_id)
FROM products WHERE product_id > :after AND (:with_retired OR NOT retired)
ORDER BY product_id LIMIT :limit;

-- name: product
-- One product of the catalogue.
SELECT product_id, name, price_cents, received, reserved, received - reserved, version, retired,
    EXISTS (SELECT 1 FROM set_aside WHERE set_aside.product_id = products.product_id)
FROM products WHERE product_id = ?;

-- name: order
-- One order by its id.
SELECT order_id, request_id, product_id, quantity, unit_price_cents, created_at_us, position
FROM orders WHERE order_id = ?;

-- name: orders
-- A page of all orders, newest first.
SELECT order_id, request_id, product_id, quantity, unit_price_cents, created_at_us, position
FROM orders WHERE position < :before ORDER BY position DESC LIMIT :limit;

-- name: orders_of_product
-- A page of one product's orders, newest first.
SELECT order_id, request_id, product_id, quantity, unit_price_cents, created_at_us, position
FROM orders WHERE product_id = :product_id AND position < :before
ORDER BY position DESC LIMIT :limit;

-- name: orders_between
-- The orders made by the events after one position up to another, oldest first.
SELECT order_id, request_id, product_id, quantity, unit_price_cents, created_at_us, position
FROM orders WHERE position > ? AND position <= ? ORDER BY position;

-- name: count_orders
-- How many orders there are.
SELECT count(*) FROM orders;

-- name: sold_or_failed
-- All ids that anyone tried to buy, also those that no product has.
SELECT product_id FROM sales UNION SELECT product_id FROM failures ORDER BY product_id;

-- name: products_tried
-- A page of the products of the catalogue that anyone tried to buy.
SELECT product_id FROM products
WHERE product_id > :after AND (:with_retired OR NOT retired) AND (
    EXISTS (SELECT 1 FROM sales WHERE sales.product_id = products.product_id)
    OR EXISTS (SELECT 1 FROM failures WHERE failures.product_id = products.product_id))
ORDER BY product_id LIMIT :limit;

-- name: sales
-- What was sold of some products, by price.
SELECT product_id, unit_price_cents, orders, units FROM sales
WHERE product_id IN (SELECT value FROM json_each(?));

-- name: failures
-- The failed purchases of some products, by code.
SELECT product_id, code, purchases FROM failures
WHERE product_id IN (SELECT value FROM json_each(?));
