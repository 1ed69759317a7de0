-- Deadline of an attempt; NULL: that of the settings.
ALTER TABLE subscriptions ADD COLUMN deadline_ms INTEGER CHECK (deadline_ms > 0);
-- Requests at a time, of all workers together; NULL: no limit beside that of the URL.
ALTER TABLE subscriptions ADD COLUMN max_concurrency INTEGER CHECK (max_concurrency > 0);
