-- The state of the delivery after this record, and whether it is its last one: the present state then. Records of before have neither:
-- a delivery is listed from its next record on.
ALTER TABLE homing.attempts ADD COLUMN state text;
ALTER TABLE homing.attempts ADD COLUMN latest bigint NOT NULL DEFAULT 0 CHECK (latest = 0 OR state IS NOT NULL);
-- Since when the delivery waited for its turn, if it did. A wait that lasts has one row, which goes with it.
ALTER TABLE homing.attempts ADD COLUMN turn_since_ms bigint;
-- The steps of the delivery before this record, of a wait those when it was last seen: they say which record is the last one, and not
-- the clocks of workers.
ALTER TABLE homing.attempts ADD COLUMN progress bigint;
-- When a wait that lasts was last seen.
ALTER TABLE homing.attempts ADD COLUMN as_of_ms bigint;

-- Leads to the records of one delivery, too.
DROP INDEX homing.attempts_by_event;
CREATE INDEX attempts_by_event ON homing.attempts (event, delivery);

-- What is held is known from the beginning.
UPDATE homing.attempts SET state = 'held', latest = 1
WHERE attempt IS NULL AND hold_since_ms IS NOT NULL AND due_ms IS NOT NULL;

-- These cost nothing as long as all is well.
CREATE INDEX attempts_by_state ON homing.attempts (state, id)
WHERE latest = 1 AND state <> 'delivered';
CREATE INDEX attempts_by_subscription_state ON homing.attempts (subscription, state, id)
WHERE latest = 1 AND state <> 'delivered';
CREATE INDEX attempts_by_url_state ON homing.attempts (url, state, id)
WHERE latest = 1 AND state <> 'delivered';
