-- The error that a delivery was parked for: the id of a row of error_groups, which may be forgotten before. NULL: that of an earlier
-- version, or what was parked without an attempt.
ALTER TABLE homing.parked ADD COLUMN error bytea CHECK (length(error) = 16);

CREATE INDEX parked_by_error ON homing.parked (error, id) WHERE error IS NOT NULL;
