-- Those to ask about a subscription.
ALTER TABLE homing.subscriptions ADD COLUMN owner text;
-- Names and values, an object in JSON; NULL: none.
ALTER TABLE homing.subscriptions ADD COLUMN labels text;
-- Events are sent as messages for people, an object in JSON; NULL: they are not.
ALTER TABLE homing.subscriptions ADD COLUMN template text;
