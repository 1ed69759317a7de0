-- Of a URL, the last hundred changes of state are kept, and the last hundred probes: one that is down for days is probed so often that
-- its probes pushed out when it went down.
DROP TRIGGER circuit_turned;
DROP TRIGGER circuit_probed;

CREATE TRIGGER circuit_turned AFTER UPDATE ON circuits WHEN OLD.state <> NEW.state BEGIN
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms = NEW.since_ms AND what = NEW.state;
    INSERT INTO circuit_changes (url, at_ms, what, reason) VALUES (NEW.url, NEW.since_ms, NEW.state, NEW.reason);
    DELETE FROM circuit_changes WHERE url = NEW.url AND what <> 'probed' AND at_ms < (
        SELECT at_ms FROM circuit_changes WHERE url = NEW.url AND what <> 'probed' ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
END;

-- The next probe is put off when one is claimed; when it fails, that is counted as well.
CREATE TRIGGER circuit_probed AFTER UPDATE ON circuits
WHEN OLD.state = 'open' AND NEW.state = 'open' AND NEW.probe_at_ms > OLD.probe_at_ms AND NEW.failures = OLD.failures BEGIN
    DELETE FROM circuit_changes WHERE url = NEW.url AND at_ms = NEW.touched_ms AND what = 'probed';
    INSERT INTO circuit_changes (url, at_ms, what, reason) VALUES (NEW.url, NEW.touched_ms, 'probed', NULL);
    DELETE FROM circuit_changes WHERE url = NEW.url AND what = 'probed' AND at_ms < (
        SELECT at_ms FROM circuit_changes WHERE url = NEW.url AND what = 'probed' ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
END;
