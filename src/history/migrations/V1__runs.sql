-- Runs as they were seen from here, and how they ended. What stands on the servers is in their own
-- ledgers; nothing here is needed for anything but looking back.

CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    command     TEXT NOT NULL,
    version     TEXT,
    user        TEXT NOT NULL,
    machine     TEXT NOT NULL,
    ci_actor    TEXT,
    ci_job      TEXT,
    source      TEXT,               -- the commit that was deployed
    reason      TEXT,
    only_names  TEXT NOT NULL,      -- JSON: the words of --only
    except_names TEXT NOT NULL,     -- JSON: the words of --except
    hosts       TEXT NOT NULL,      -- JSON: their names
    steps       INTEGER NOT NULL,
    generation  INTEGER,            -- none unless something was committed
    started     TEXT NOT NULL,
    ended       TEXT,               -- none while it goes on, or when its end was not seen
    outcome     TEXT,
    exit_code   INTEGER
) STRICT;

CREATE INDEX runs_by_environment ON runs (environment, started);

CREATE TABLE run_hosts (
    run        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    host       TEXT NOT NULL,
    app        TEXT NOT NULL,
    generation INTEGER,
    release    TEXT,
    version    TEXT,
    healthy    INTEGER,             -- none where the host couldn't be read
    PRIMARY KEY (run, host, app)
) STRICT;

CREATE TABLE steps (
    number   INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    host     TEXT NOT NULL,
    app      TEXT NOT NULL,
    step     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    action   TEXT NOT NULL,
    resource TEXT NOT NULL,
    started  TEXT NOT NULL,
    ended    TEXT,
    elapsed  INTEGER,               -- milliseconds, by the host's clock
    result   TEXT CHECK (result IN ('changed', 'unchanged', 'failed')),
    error    TEXT
) STRICT;

CREATE INDEX steps_by_run ON steps (run, step);

CREATE TABLE gates (
    number   INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    host     TEXT NOT NULL,
    app      TEXT NOT NULL,
    gate     TEXT NOT NULL,
    verdict  TEXT NOT NULL,
    class    TEXT NOT NULL,
    detail   TEXT NOT NULL,
    elapsed  INTEGER NOT NULL,
    baseline INTEGER NOT NULL,
    at       TEXT NOT NULL
) STRICT;

CREATE INDEX gates_by_run ON gates (run);

-- Everything that happened, as the stream of a run said it.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    run    TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    event  TEXT NOT NULL            -- JSON
) STRICT;

CREATE INDEX events_by_run ON events (run);
