-- How events are sent in Workfront's form, an object in JSON; NULL: as they were published.
ALTER TABLE subscriptions ADD COLUMN workfront TEXT;

CREATE INDEX subscriptions_in_workfronts_form ON subscriptions (id) WHERE workfront IS NOT NULL;
