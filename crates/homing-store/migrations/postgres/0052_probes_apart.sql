-- Of a URL, the last hundred changes of state are kept, and the last hundred probes: one that is down for days is probed so often that
-- its probes pushed out when it went down.
CREATE OR REPLACE FUNCTION homing.note_circuit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_probe boolean := TG_OP = 'UPDATE' AND OLD.state = NEW.state;
BEGIN
    INSERT INTO homing.circuit_changes (url, at_ms, what, reason) VALUES (
        NEW.url,
        CASE WHEN is_probe THEN NEW.touched_ms ELSE NEW.since_ms END,
        CASE WHEN is_probe THEN 'probed' ELSE NEW.state END,
        CASE WHEN is_probe THEN NULL ELSE NEW.reason END
    ) ON CONFLICT (url, at_ms, what) DO NOTHING;
    DELETE FROM homing.circuit_changes WHERE url = NEW.url AND (what = 'probed') = is_probe AND at_ms < (
        SELECT at_ms FROM homing.circuit_changes WHERE url = NEW.url AND (what = 'probed') = is_probe
        ORDER BY at_ms DESC LIMIT 1 OFFSET 99
    );
    RETURN NULL;
END
$$;
