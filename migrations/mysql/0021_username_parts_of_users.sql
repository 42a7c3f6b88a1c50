-- The parts of the users that are there already; an import runs the same statement.
INSERT INTO username_parts (whole, part, user_id)
WITH RECURSIVE places (place) AS (SELECT 1 UNION ALL SELECT place + 1 FROM places WHERE place < 50)
SELECT place = 1, CAST(SUBSTRING(username_key, place) AS BINARY), id
FROM users JOIN places ON place <= CHAR_LENGTH(username_key)
WHERE role <> 'visitor';
