-- Deadline of an attempt; NULL: that of the settings.
ALTER TABLE homing.subscriptions ADD COLUMN deadline_ms bigint CHECK (deadline_ms > 0);
-- Requests at a time, of all workers together; NULL: no limit beside that of the URL.
ALTER TABLE homing.subscriptions ADD COLUMN max_concurrency bigint CHECK (max_concurrency > 0);
