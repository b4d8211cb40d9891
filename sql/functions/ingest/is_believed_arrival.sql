-- radmeter.is_believed_arrival(received_us, now_us): whether a packet can have arrived at a time: from 1999, FreeRADIUS's
-- first year, to 5 minutes after the database's clock. ingest/replay.py has the same window for detail files.
-- radmeter.is_possible_time is about the stop of a session, and is wider.
-- Returns boolean; false for NULL. An SQL function of one expression: PostgreSQL puts it into the query that calls it.
CREATE OR REPLACE FUNCTION radmeter.is_believed_arrival(p_received_us bigint, p_now_us bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(p_received_us BETWEEN 915148800000000 AND p_now_us + 300000000, false);
