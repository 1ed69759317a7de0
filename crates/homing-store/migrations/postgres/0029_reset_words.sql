-- The service's newer words for both ends of the data.
ALTER TABLE sources DROP CONSTRAINT sources_reset_check;
ALTER TABLE sources
    ADD CONSTRAINT sources_reset_check
    CHECK (reset IN ('smallest', 'largest', 'earliest', 'latest'));
