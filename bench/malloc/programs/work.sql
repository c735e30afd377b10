-- SPDX-License-Identifier: MIT
-- A small shop in memory: insert, index, join, group, update, delete, text.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, price REAL, note TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO customer SELECT i, 'customer ' || i, 'city ' || (i * 7919 % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO sale SELECT i, i * 31 % 4000 + 1, 'item ' || (i * 17 % 500), i % 1000 / 7.0,
	substr('a note of some length that is cut somewhere', 1, i % 43) FROM n;
COMMIT;
CREATE INDEX sale_customer ON sale(customer);
CREATE INDEX sale_item ON sale(item, price);
SELECT city, count(*), round(sum(price), 2), max(note) FROM sale
	JOIN customer ON customer.id = sale.customer GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT item, group_concat(DISTINCT substr(note, 1, 3)) FROM sale GROUP BY item ORDER BY item LIMIT 3;
UPDATE sale SET note = upper(note) || ' ' || item WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 5 = 0;
SELECT count(*), sum(length(note)) FROM sale;
SELECT name FROM customer WHERE id IN (SELECT customer FROM sale WHERE note LIKE '%CUT%')
	ORDER BY name LIMIT 5;
