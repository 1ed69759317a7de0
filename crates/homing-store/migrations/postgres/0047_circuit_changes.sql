-- The life of a circuit: from when on it was in which state, and its probes; the last hundred of a URL. Written by triggers, so that
-- processes of earlier versions write it, too.
CREATE TABLE homing.circuit_changes (
    url text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    -- The state from then on, or probed.
    what text NOT NULL,
    -- Why, in JSON.
    reason text,
    PRIMARY KEY (url, at_ms, what)
);

CREATE FUNCTION homing.note_circuit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_probe boolean := TG_OP = 'UPDATE' AND OLD.state = NEW.state;
BEGIN
    INSERT INTO homing.circuit_changes (url, at_ms, what, reason) VALUES (
        NEW.url,
        CASE WHEN is_probe THEN NEW.touched_ms ELSE NEW.since_ms END,
        CASE WHEN is_probe THEN 'probed' ELSE NEW.state END,
        CASE WHEN is_probe THEN NULL ELSE NEW.reason END
    ) ON CONFLICT (url, at_ms, what) DO NOTHING;
    DELETE FROM homing.circuit_changes WHERE url = NEW.url AND at_ms < (
        SELECT at_ms FROM homing.circuit_changes WHERE url = NEW.url ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION homing.forget_circuit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM homing.circuit_changes WHERE url = OLD.url;
    RETURN NULL;
END
$$;

CREATE TRIGGER circuit_begins AFTER INSERT ON homing.circuits
FOR EACH ROW WHEN (NEW.state <> 'closed') EXECUTE FUNCTION homing.note_circuit();

-- The next probe is put off when one is claimed; when it fails, that is counted as well.
CREATE TRIGGER circuit_turned AFTER UPDATE ON homing.circuits
FOR EACH ROW WHEN (
    OLD.state <> NEW.state
    OR OLD.state = 'open' AND NEW.probe_at_ms > OLD.probe_at_ms AND NEW.failures = OLD.failures
) EXECUTE FUNCTION homing.note_circuit();

CREATE TRIGGER circuit_ends AFTER DELETE ON homing.circuits
FOR EACH ROW EXECUTE FUNCTION homing.forget_circuit();
