-- The life of a circuit: from when on it was in which state, and its probes; the last hundred of a URL. Written by triggers, so that
-- processes of earlier versions write it, too.
CREATE TABLE circuit_changes (
    url TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    -- The state from then on, or probed.
    what TEXT NOT NULL,
    -- Why, in JSON.
    reason TEXT,
    PRIMARY KEY (url, at_ms, what)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER circuit_begins AFTER INSERT ON circuits WHEN NEW.state <> 'closed' BEGIN
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms = NEW.since_ms AND what = NEW.state;
    INSERT INTO circuit_changes (url, at_ms, what, reason) VALUES (NEW.url, NEW.since_ms, NEW.state, NEW.reason);
END;

CREATE TRIGGER circuit_turned AFTER UPDATE ON circuits WHEN OLD.state <> NEW.state BEGIN
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms = NEW.since_ms AND what = NEW.state;
    INSERT INTO circuit_changes (url, at_ms, what, reason) VALUES (NEW.url, NEW.since_ms, NEW.state, NEW.reason);
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms < (
        SELECT at_ms FROM circuit_changes WHERE url = NEW.url ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
END;

-- The next probe is put off when one is claimed; when it fails, that is counted as well.
CREATE TRIGGER circuit_probed AFTER UPDATE ON circuits
WHEN OLD.state = 'open' AND NEW.state = 'open' AND NEW.probe_at_ms > OLD.probe_at_ms AND NEW.failures = OLD.failures BEGIN
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms = NEW.touched_ms AND what = 'probed';
    INSERT INTO circuit_changes (url, at_ms, what, reason) VALUES (NEW.url, NEW.touched_ms, 'probed', NULL);
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms < (
        SELECT at_ms FROM circuit_changes WHERE url = NEW.url ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
END;

CREATE TRIGGER circuit_ends AFTER DELETE ON circuits BEGIN
    DELETE FROM circuit_changes WHERE url = OLD.url;
END;
