-- SPDX-License-Identifier: MIT
-- What the trace sqlite3 records: a few tables, an index, joins, changes.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, price REAL, note TEXT);
INSERT INTO customer VALUES (1, 'Ada', 'London'), (2, 'Grace', 'New York'), (3, 'Edsger', 'Rotterdam');
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO sale SELECT i, i * 31 % 3 + 1, 'item ' || (i * 17 % 50), i % 100 / 7.0,
	substr('a note of some length that is cut somewhere', 1, i % 43) FROM n;
CREATE INDEX sale_item ON sale(item, price);
SELECT city, count(*), round(sum(price), 2), max(note) FROM sale
	JOIN customer ON customer.id = sale.customer GROUP BY city ORDER BY 3 DESC;
SELECT item, group_concat(DISTINCT substr(note, 1, 3)) FROM sale GROUP BY item ORDER BY item LIMIT 3;
UPDATE sale SET note = upper(note) || ' ' || item WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 5 = 0;
SELECT count(*), sum(length(note)) FROM sale;
SELECT name, count(*) FROM customer JOIN sale ON sale.customer = customer.id
	WHERE note LIKE '%CUT%' GROUP BY name ORDER BY name;
DROP TABLE sale;
