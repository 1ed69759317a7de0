-- What others write at this moment is counted, too.
LOCK TABLE homing.subscriptions IN SHARE ROW EXCLUSIVE MODE;

-- By which version each subscription was changed last, so that a worker reads what has changed and nothing else.
CREATE TABLE homing.subscription_changes (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    -- Kept for as many versions as `CHANGES_MAX` in src/store/subscriptions.rs says, and some more.
    removed boolean NOT NULL
);

CREATE INDEX subscription_changes_by_version ON homing.subscription_changes (version);
CREATE INDEX subscriptions_removed ON homing.subscription_changes (version) WHERE removed;

-- How many subscriptions there are, and the bytes of their filters: never counted.
CREATE TABLE homing.subscription_totals (
    one bigint NOT NULL PRIMARY KEY CHECK (one = 1),
    number bigint NOT NULL,
    filter_bytes bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO homing.subscription_changes (id, version, removed)
SELECT id, (SELECT version FROM homing.versions WHERE name = 'subscriptions'), false FROM homing.subscriptions;

INSERT INTO homing.subscription_totals (one, number, filter_bytes)
SELECT 1, count(*), coalesce(sum(octet_length(filters)), 0) FROM homing.subscriptions;

-- The row of `versions` comes first: behind it, no other writer of subscriptions runs.
CREATE FUNCTION homing.note_subscription() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    present bigint;
BEGIN
    UPDATE homing.versions SET version = version + 1 WHERE name = 'subscriptions'
    RETURNING version INTO present;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO homing.subscription_changes (id, version, removed) VALUES (OLD.id, present, true)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, removed = true;
        UPDATE homing.subscription_totals
        SET number = number - 1, filter_bytes = filter_bytes - octet_length(OLD.filters);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO homing.subscription_changes (id, version, removed) VALUES (NEW.id, present, false)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, removed = false;
        UPDATE homing.subscription_totals
        SET number = number + 1, filter_bytes = filter_bytes + octet_length(NEW.filters);
    ELSE
        DELETE FROM homing.subscription_changes WHERE removed AND version < present - 2000;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION homing.forget_subscriptions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE homing.versions SET version = version + 1 WHERE name = 'subscriptions';
    DELETE FROM homing.subscription_changes;
    UPDATE homing.subscription_totals SET number = 0, filter_bytes = 0;
    RETURN NULL;
END
$$;

DROP TRIGGER subscription_changed ON homing.subscriptions;
DROP TRIGGER subscriptions_emptied ON homing.subscriptions;

-- Triggers, so that workers also notice what a person changes with psql.
CREATE TRIGGER subscription_changed AFTER INSERT OR UPDATE OR DELETE ON homing.subscriptions
FOR EACH ROW EXECUTE FUNCTION homing.note_subscription();

CREATE TRIGGER subscriptions_emptied AFTER TRUNCATE ON homing.subscriptions
FOR EACH STATEMENT EXECUTE FUNCTION homing.forget_subscriptions();
