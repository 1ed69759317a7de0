-- A report writes the workers and then the ledger; a reader reads the ledger and then the workers.
-- The first lock waits for reports and lets readers go on, the second waits for these: none of them
-- and this wait for each other.
LOCK TABLE homing.ledger_workers IN SHARE ROW EXCLUSIVE MODE;
LOCK TABLE homing.ledger IN ACCESS EXCLUSIVE MODE;

-- In which place others can find out that the process has ended; absent: in none.
ALTER TABLE homing.ledger_workers ADD COLUMN place text;

-- An hour is read page by page.
CREATE INDEX ledger_by_hour_and_subscription ON homing.ledger (hour_ms, subscription);
DROP INDEX homing.ledger_by_hour;

CREATE INDEX audit_by_kind ON homing.audit (kind, id);

-- The keys that are still in use are found without the payloads.
CREATE INDEX payloads_by_key ON homing.payloads (key_id);
CREATE INDEX payload_bodies_by_key ON homing.payload_bodies (key_id);
CREATE INDEX error_groups_by_key ON homing.error_groups (key_id);
