CREATE TABLE homing.circuits (
    -- The normalised URL: ASCII, so that every row can be named; sorted byte by byte.
    url text COLLATE "C" NOT NULL PRIMARY KEY CHECK (url ~ '^http[!-~]*://[ -~]*$'),
    state text NOT NULL CHECK (state IN ('closed', 'open', 'frozen')),
    probe_at_ms bigint CHECK ((probe_at_ms IS NOT NULL) = (state = 'open')),
    since_ms bigint NOT NULL,
    -- Why it is in this state, in JSON.
    reason text,
    window_attempts bigint NOT NULL CHECK (window_attempts >= 0),
    window_failures bigint NOT NULL CHECK (window_failures BETWEEN 0 AND window_attempts),
    failures_in_a_row bigint NOT NULL CHECK (failures_in_a_row >= 0),
    successes bigint NOT NULL CHECK (successes >= 0),
    failures bigint NOT NULL CHECK (failures >= 0),
    first_attempt_ms bigint,
    last_success_ms bigint,
    last_outcome text,
    last_outcome_ms bigint CHECK ((last_outcome_ms IS NULL) = (last_outcome IS NULL)),
    created_ms bigint NOT NULL,
    -- When it was last written, for whatever reason.
    touched_ms bigint NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX circuits_by_state ON homing.circuits (state, url);

INSERT INTO homing.versions (name, version) VALUES ('circuits', 0);

-- Rises with every change of state, not with every count. A URL without a circuit is closed.
CREATE TRIGGER circuit_inserted AFTER INSERT ON homing.circuits
FOR EACH ROW WHEN (NEW.state <> 'closed') EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuit_updated AFTER UPDATE ON homing.circuits
FOR EACH ROW WHEN (OLD.state <> NEW.state OR OLD.url <> NEW.url)
EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuit_removed AFTER DELETE ON homing.circuits
FOR EACH ROW WHEN (OLD.state <> 'closed') EXECUTE FUNCTION homing.raise_version('circuits');

CREATE TRIGGER circuits_emptied AFTER TRUNCATE ON homing.circuits
FOR EACH STATEMENT EXECUTE FUNCTION homing.raise_version('circuits');
