-- Subscriptions whose filters cost more than an event may, and when an event was parked for that last. A change of the subscription ends it:
-- `updated_ms` is that of the subscription whose filters they were.
CREATE TABLE homing.costly_subscriptions (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    updated_ms bigint NOT NULL,
    seen_ms bigint NOT NULL
);
