-- All tables are in the schema `homing`, which is made before the first migration; whoever works with psql says
-- SET search_path = homing.

CREATE TABLE homing.subscriptions (
    -- A UUID in lower case, byte by byte, so that ids sort by creation and every row can be named.
    id text COLLATE "C" NOT NULL PRIMARY KEY
        CHECK (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'),
    -- SHA-256 in base64 of what must be unique: same events to the same URL.
    fingerprint text COLLATE "C" NOT NULL UNIQUE,
    url text NOT NULL,
    topics text NOT NULL,
    filters text NOT NULL,
    filter_connector text NOT NULL,
    auth_token text,
    secrets text NOT NULL,
    headers text NOT NULL,
    schedule text,
    -- Requests per second.
    rate_limit bigint CHECK (rate_limit > 0),
    description text,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL
);

-- Rises with every change of the table named. Not a sequence: a sequence rises before the change can be seen, and a
-- worker that reads in between would never look again.
CREATE TABLE homing.versions (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO homing.versions (name, version) VALUES ('subscriptions', 0);

-- The argument is the name of the version.
CREATE FUNCTION homing.raise_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE homing.versions SET version = version + 1 WHERE name = TG_ARGV[0];
    RETURN NULL;
END
$$;

-- Triggers, so that workers also notice what a person changes with psql.
CREATE TRIGGER subscription_changed AFTER INSERT OR UPDATE OR DELETE ON homing.subscriptions
FOR EACH ROW EXECUTE FUNCTION homing.raise_version('subscriptions');

CREATE TRIGGER subscriptions_emptied AFTER TRUNCATE ON homing.subscriptions
FOR EACH STATEMENT EXECUTE FUNCTION homing.raise_version('subscriptions');

-- Wait queues that were ever declared and not yet deleted.
CREATE TABLE homing.queues (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    first_declared_ms bigint NOT NULL
);
