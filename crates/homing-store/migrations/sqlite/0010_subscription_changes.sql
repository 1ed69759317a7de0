-- By which version each subscription was changed last, so that a worker reads what has changed and nothing else.
CREATE TABLE subscription_changes (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    -- Kept for as many versions as `CHANGES_MAX` in src/store/subscriptions.rs says, and some more.
    removed INTEGER NOT NULL CHECK (removed IN (0, 1))
) STRICT;

CREATE INDEX subscription_changes_by_version ON subscription_changes (version);
CREATE INDEX subscriptions_removed ON subscription_changes (version) WHERE removed = 1;

-- How many subscriptions there are, and the bytes of their filters: never counted.
CREATE TABLE subscription_totals (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,
    filter_bytes INTEGER NOT NULL
) STRICT;

INSERT INTO subscription_changes (id, version, removed)
SELECT id, (SELECT version FROM versions WHERE name = 'subscriptions'), 0 FROM subscriptions;

INSERT INTO subscription_totals (one, number, filter_bytes)
SELECT 1, count(*), coalesce(sum(length(CAST(filters AS BLOB))), 0) FROM subscriptions;

DROP TRIGGER subscription_inserted;
DROP TRIGGER subscription_updated;
DROP TRIGGER subscription_removed;

-- Triggers, so that workers also notice what a person changes with the sqlite3 shell.
CREATE TRIGGER subscription_inserted AFTER INSERT ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
    DELETE FROM subscription_changes WHERE id = NEW.id;
    INSERT INTO subscription_changes (id, version, removed)
    SELECT NEW.id, version, 0 FROM versions WHERE name = 'subscriptions';
    UPDATE subscription_totals
    SET number = number + 1, filter_bytes = filter_bytes + length(CAST(NEW.filters AS BLOB));
END;

CREATE TRIGGER subscription_updated AFTER UPDATE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
    DELETE FROM subscription_changes WHERE id IN (OLD.id, NEW.id);
    INSERT INTO subscription_changes (id, version, removed)
    SELECT NEW.id, version, 0 FROM versions WHERE name = 'subscriptions';
    INSERT INTO subscription_changes (id, version, removed)
    SELECT OLD.id, version, 1 FROM versions WHERE name = 'subscriptions' AND OLD.id <> NEW.id;
    UPDATE subscription_totals
    SET filter_bytes = filter_bytes + length(CAST(NEW.filters AS BLOB)) - length(CAST(OLD.filters AS BLOB));
END;

CREATE TRIGGER subscription_removed AFTER DELETE ON subscriptions BEGIN
    UPDATE versions SET version = version + 1 WHERE name = 'subscriptions';
    DELETE FROM subscription_changes WHERE id = OLD.id;
    INSERT INTO subscription_changes (id, version, removed)
    SELECT OLD.id, version, 1 FROM versions WHERE name = 'subscriptions';
    DELETE FROM subscription_changes
    WHERE removed = 1 AND version < (SELECT version - 2000 FROM versions WHERE name = 'subscriptions');
    UPDATE subscription_totals
    SET number = number - 1, filter_bytes = filter_bytes - length(CAST(OLD.filters AS BLOB));
END;
