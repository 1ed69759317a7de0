-- Those to ask about a subscription.
ALTER TABLE subscriptions ADD COLUMN owner TEXT;
-- Names and values, an object in JSON; NULL: none.
ALTER TABLE subscriptions ADD COLUMN labels TEXT;
-- Events are sent as messages for people, an object in JSON; NULL: they are not.
ALTER TABLE subscriptions ADD COLUMN template TEXT;
