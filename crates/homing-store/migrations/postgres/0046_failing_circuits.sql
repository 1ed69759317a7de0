-- Closed circuits whose last attempts failed, of which there are few: the overview asks for them.
CREATE INDEX circuits_that_fail ON homing.circuits (failures_in_a_row, url)
WHERE state = 'closed' AND failures_in_a_row >= 2;
