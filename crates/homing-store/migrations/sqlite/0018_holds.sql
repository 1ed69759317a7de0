-- The wait for its endpoint, if any: since when, and why. A hold that lasts has one row; the row of what ends it has these, too, and
-- its own goes.
ALTER TABLE attempts ADD COLUMN hold_since_ms INTEGER;
ALTER TABLE attempts ADD COLUMN hold_reason TEXT CHECK ((hold_reason IS NULL) = (hold_since_ms IS NULL));
