-- The service's newer words for both ends of the data.
ALTER TABLE sources RENAME COLUMN reset TO older_reset;
ALTER TABLE sources
    ADD COLUMN reset TEXT CHECK (reset IN ('smallest', 'largest', 'earliest', 'latest'));
UPDATE sources SET reset = older_reset;
ALTER TABLE sources DROP COLUMN older_reset;
