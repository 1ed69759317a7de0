-- Figures by the hour: of everything, of one URL, of one topic. Of URLs and topics that are not distinguished, the name is empty.
CREATE TABLE history (
    series TEXT NOT NULL CHECK (series IN ('all', 'url', 'topic')),
    name TEXT NOT NULL,
    hour_ms INTEGER NOT NULL,
    -- Counts and histograms of durations; `homing_domain::history` reads and writes them.
    figures BLOB NOT NULL,
    PRIMARY KEY (series, name, hour_ms)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_by_hour ON history (hour_ms);

-- The last batch that each worker has added, so that one that is sent again counts once.
CREATE TABLE history_writers (
    worker TEXT NOT NULL PRIMARY KEY,
    batch INTEGER NOT NULL,
    written_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Topics of which events were taken; the empty one stands for all that are not distinguished.
CREATE TABLE topics (
    topic TEXT NOT NULL PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    events INTEGER NOT NULL CHECK (events >= 0),
    -- Those that no subscription wanted, and when the last of them came.
    unwanted INTEGER NOT NULL CHECK (unwanted >= 0),
    unwanted_ms INTEGER CHECK ((unwanted_ms IS NULL) = (unwanted = 0))
) STRICT, WITHOUT ROWID;

CREATE INDEX topics_by_unwanted ON topics (unwanted_ms) WHERE unwanted_ms IS NOT NULL;

-- Whoever adds to the history raises this first: writers go one after the other.
INSERT INTO versions (name, version) VALUES ('history', 0);
