-- How a request authenticates itself other than by a bearer token, an object in JSON, encrypted; NULL: it does not.
ALTER TABLE homing.subscriptions ADD COLUMN authentication text;
