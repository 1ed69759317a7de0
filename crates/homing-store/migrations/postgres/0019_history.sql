-- Figures by the hour: of everything, of one URL, of one topic. Of URLs and topics that are not distinguished, the name is empty.
CREATE TABLE homing.history (
    series text COLLATE "C" NOT NULL CHECK (series IN ('all', 'url', 'topic')),
    name text COLLATE "C" NOT NULL,
    hour_ms bigint NOT NULL,
    -- Counts and histograms of durations; `homing_domain::history` reads and writes them.
    figures bytea NOT NULL,
    PRIMARY KEY (series, name, hour_ms)
) WITH (fillfactor = 70);

CREATE INDEX history_by_hour ON homing.history (hour_ms);

-- The last batch that each worker has added, so that one that is sent again counts once.
CREATE TABLE homing.history_writers (
    worker text COLLATE "C" NOT NULL PRIMARY KEY,
    batch bigint NOT NULL,
    written_ms bigint NOT NULL
) WITH (fillfactor = 50);

-- Topics of which events were taken; the empty one stands for all that are not distinguished.
CREATE TABLE homing.topics (
    topic text COLLATE "C" NOT NULL PRIMARY KEY,
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    events bigint NOT NULL CHECK (events >= 0),
    -- Those that no subscription wanted, and when the last of them came.
    unwanted bigint NOT NULL CHECK (unwanted >= 0),
    unwanted_ms bigint CHECK ((unwanted_ms IS NULL) = (unwanted = 0))
) WITH (fillfactor = 70);

CREATE INDEX topics_by_unwanted ON homing.topics (unwanted_ms) WHERE unwanted_ms IS NOT NULL;

-- Whoever adds to the history raises this first: writers go one after the other.
INSERT INTO homing.versions (name, version) VALUES ('history', 0);
