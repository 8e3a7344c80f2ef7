-- test/demo/shop.sql
-- A small shop in MariaDB: what the demo pulls into the hub.

CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;

CREATE TABLE customers
(
    id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email varchar(120) NOT NULL UNIQUE,
    name varchar(80) NOT NULL COMMENT 'as it is to be printed',
    city varchar(60) NOT NULL,
    newsletter boolean NOT NULL DEFAULT false,
    preferences json,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
);

CREATE TABLE products
(
    id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sku char(8) NOT NULL UNIQUE,
    name varchar(100) NOT NULL,
    category enum('book', 'game', 'garden', 'kitchen', 'music') NOT NULL,
    price decimal(10,2) NOT NULL,
    stock int NOT NULL
);

CREATE TABLE orders
(
    id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    customer_id int unsigned NOT NULL,
    status enum('new', 'paid', 'shipped', 'returned') NOT NULL DEFAULT 'new',
    total decimal(12,2) NOT NULL DEFAULT 0,
    ordered_at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    note text,
    KEY (customer_id),
    FOREIGN KEY (customer_id) REFERENCES customers (id)
);

CREATE TABLE order_lines
(
    order_id bigint unsigned NOT NULL,
    line smallint unsigned NOT NULL,
    product_id int unsigned NOT NULL,
    quantity smallint unsigned NOT NULL,
    price decimal(10,2) NOT NULL,
    PRIMARY KEY (order_id, line),
    FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
    FOREIGN KEY (product_id) REFERENCES products (id)
);

-- The same shop each time.
SET @@rand_seed1 = 20260101, @@rand_seed2 = 4711;

INSERT INTO customers (id, email, name, city, newsletter, preferences, created_at)
SELECT seq,
       concat('customer', seq, '@example.org'),
       concat(elt(1 + seq % 8, 'Ada', 'Grace', 'Alan', 'Edgar', 'Barbara', 'Edsger', 'Michael', 'José'), ' ',
              elt(1 + (seq DIV 8) % 7, 'Jones', 'Müller', 'Rossi', 'Dubois', 'García', 'Nowak', '山田')),
       elt(1 + seq % 6, 'Lisbon', 'Zürich', 'Kraków', 'Porto', 'Århus', '東京'),
       seq % 3 = 0,
       json_object('language', elt(1 + seq % 3, 'en', 'de', 'pt'), 'points', seq % 500),
       timestamp('2024-01-01') + INTERVAL seq HOUR
  FROM seq_1_to_5000;

INSERT INTO products (id, sku, name, category, price, stock)
SELECT seq,
       concat('SKU', lpad(seq, 5, '0')),
       concat(elt(1 + seq % 5, 'Small', 'Large', 'Blue', 'Old', 'Silent'), ' ',
              elt(1 + (seq DIV 5) % 8, 'teapot', 'atlas', 'chess set', 'guitar', 'spade', 'lamp', 'whisk', 'score')),
       1 + seq % 5,
       5 + round(rand() * 95, 2),
       10 + floor(rand() * 500)
  FROM seq_1_to_400;

INSERT INTO orders (id, customer_id, status, ordered_at, note)
SELECT seq,
       1 + floor(rand() * 5000),
       1 + floor(rand() * 4),
       timestamp('2025-01-01') + INTERVAL seq * 13 MINUTE,
       if(seq % 10 = 0, 'please ring twice', NULL)
  FROM seq_1_to_30000;

INSERT INTO order_lines (order_id, line, product_id, quantity, price)
SELECT o.seq, l.seq, p.id, 1 + (o.seq + l.seq) % 4, p.price
  FROM seq_1_to_30000 o
  JOIN seq_1_to_4 l ON l.seq <= 1 + o.seq % 4
  JOIN products p ON p.id = 1 + (o.seq * 7 + l.seq * 31) % 400;

UPDATE orders o
  JOIN (SELECT order_id, sum(quantity * price) AS total FROM order_lines GROUP BY order_id) s
    ON s.order_id = o.id
   SET o.total = s.total;

ANALYZE TABLE customers, products, orders, order_lines;
