-- When the version of a subscription in Workfront's form was changed last; NULL: never. For five minutes from then on, events are
-- sent in both versions.
ALTER TABLE homing.subscriptions ADD COLUMN version_updated_ms bigint;
