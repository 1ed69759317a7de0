-- 1: the worker runs replays of the archive; 0: it does not. Workers of earlier versions write nothing here: they send what was replayed
-- without `x-homing-replay`, so while one of them runs, no replay does.
ALTER TABLE workers ADD COLUMN runs_replays INTEGER CHECK (runs_replays IN (0, 1));
