-- A job that calls no URL has a key in its place: `job:KEY`.
ALTER TABLE homing.circuits
    DROP CONSTRAINT circuits_url_check,
    ADD CONSTRAINT circuits_url_check CHECK (url ~ '^(http[!-~]*://[ -~]*|job:[!-~]+)$');
