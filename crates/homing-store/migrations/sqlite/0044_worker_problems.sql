-- The reason why the worker makes no attempts now, or not all; NULL: there is none, or its version does not report it.
ALTER TABLE workers ADD COLUMN problem TEXT;
