-- The form of events other than as published: cloudevents-structured, cloudevents-binary; NULL: as published, or in Workfront's.
ALTER TABLE homing.subscriptions ADD COLUMN format text;
