-- In which place others can find out that the process has ended; absent: in none.
ALTER TABLE ledger_workers ADD COLUMN place TEXT;

CREATE INDEX audit_by_kind ON audit (kind, id);
-- The bound of what is kept is found without the records.
CREATE INDEX audit_by_time ON audit (id);

-- The keys that are still in use are found without the payloads.
CREATE INDEX payloads_by_key ON payloads (key_id);
CREATE INDEX payload_bodies_by_key ON payload_bodies (key_id);
CREATE INDEX error_groups_by_key ON error_groups (key_id);
