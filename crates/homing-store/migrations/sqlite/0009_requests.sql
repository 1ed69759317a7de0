-- Requests that a worker has in flight, by URL, as JSON: those URLs with the most, and whether these are all. What a worker does that tells
-- nothing of it is not known.
ALTER TABLE workers ADD COLUMN requests TEXT NOT NULL DEFAULT '{"by_url":{},"whole":false}';
