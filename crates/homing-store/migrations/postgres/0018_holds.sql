-- The wait for its endpoint, if any: since when, and why. A hold that lasts has one row; the row of what ends it has these, too, and
-- its own goes.
ALTER TABLE homing.attempts ADD COLUMN hold_since_ms bigint;
ALTER TABLE homing.attempts ADD COLUMN hold_reason text CHECK ((hold_reason IS NULL) = (hold_since_ms IS NULL));
