-- 1: the worker reads messages that are for several subscriptions. Workers of earlier versions write nothing here; while one of them runs,
-- none is published.
ALTER TABLE homing.workers ADD COLUMN reads_groups smallint NOT NULL DEFAULT 0 CHECK (reads_groups IN (0, 1));
