CREATE TABLE drift_reports (
    number      INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    at          TEXT NOT NULL,
    drifted     INTEGER NOT NULL,
    findings    TEXT NOT NULL       -- JSON, as `drift --json` prints them
) STRICT;

CREATE INDEX drift_by_environment ON drift_reports (environment, at);

-- Who did what that is no run: freeze, unlock, release-hold, trust.
CREATE TABLE audit (
    number      INTEGER PRIMARY KEY,
    environment TEXT,
    at          TEXT NOT NULL,
    user        TEXT NOT NULL,
    machine     TEXT NOT NULL,
    ci_actor    TEXT,
    action      TEXT NOT NULL,
    detail      TEXT NOT NULL
) STRICT;
