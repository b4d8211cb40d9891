-- radmeter.last_possible_time(last, otherwise): the stop time of a session that sent no Stop: its last update, or
-- another time if that is impossible. A row that another program wrote may have any time.
-- Returns timestamptz.
CREATE OR REPLACE FUNCTION radmeter.last_possible_time(p_last timestamptz, p_otherwise timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN radmeter.is_possible_time(p_last) THEN p_last ELSE p_otherwise END;
