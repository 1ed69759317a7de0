-- Deliveries of a replay to all that match that were left out, because the circuit of their endpoint was not closed. Workers of earlier
-- versions wait for that endpoint.
ALTER TABLE replays ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0 CHECK (left_out >= 0);
