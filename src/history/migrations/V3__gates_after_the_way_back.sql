-- Whether a gate was read after the way back: it is one of what stood before the run.
ALTER TABLE gates ADD COLUMN back INTEGER NOT NULL DEFAULT 0;
