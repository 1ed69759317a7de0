-- Nothing: SQLite has no rows that a vacuum has to see.
SELECT 1;
