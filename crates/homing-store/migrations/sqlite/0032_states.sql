-- The state of the delivery after this record, and whether it is its last one: the present state then. Records of before have neither:
-- a delivery is listed from its next record on.
ALTER TABLE attempts ADD COLUMN state TEXT;
ALTER TABLE attempts ADD COLUMN latest INTEGER NOT NULL DEFAULT 0 CHECK (latest = 0 OR state IS NOT NULL);
-- Since when the delivery waited for its turn, if it did. A wait that lasts has one row, which goes with it.
ALTER TABLE attempts ADD COLUMN turn_since_ms INTEGER;
-- The steps of the delivery before this record, of a wait those when it was last seen: they say which record is the last one, and not
-- the clocks of workers.
ALTER TABLE attempts ADD COLUMN progress INTEGER;
-- When a wait that lasts was last seen.
ALTER TABLE attempts ADD COLUMN as_of_ms INTEGER;

-- Leads to the records of one delivery, too.
DROP INDEX attempts_by_event;
CREATE INDEX attempts_by_event ON attempts (event, delivery);

-- What is held is known from the beginning.
UPDATE attempts SET state = 'held', latest = 1
WHERE attempt IS NULL AND hold_since_ms IS NOT NULL AND due_ms IS NOT NULL;

-- These cost nothing as long as all is well.
CREATE INDEX attempts_by_state ON attempts (state, id)
WHERE latest = 1 AND state <> 'delivered';
CREATE INDEX attempts_by_subscription_state ON attempts (subscription, state, id)
WHERE latest = 1 AND state <> 'delivered';
CREATE INDEX attempts_by_url_state ON attempts (url, state, id)
WHERE latest = 1 AND state <> 'delivered';
