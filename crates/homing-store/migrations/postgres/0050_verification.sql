-- How the endpoint is asked for its consent, and the last one, with a digest of the URL that it is for, in JSON; NULL: it is not asked.
ALTER TABLE homing.subscriptions ADD COLUMN verification text;
