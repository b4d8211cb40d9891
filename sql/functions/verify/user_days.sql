-- radmeter.user_days(username, first, last): a user's octets on each day, from the sessions that are kept.
--   username     compared exactly; an empty one has no usage
--   first, last  both included; a day is one of the session's router, in its time zone
-- Returns a row for each day with octets. Users have no counters by day: sessions that were dropped or archived are
-- missing (radmeter.sessions_complete_from). Called by radmeter report. Reads what radmeter.recomputed_parts reads.
CREATE OR REPLACE FUNCTION radmeter.user_days(p_username text, p_first date, p_last date)
RETURNS TABLE (usage_date date, bytes_in numeric, bytes_out numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
    SELECT part.usage_date, sum(part.bytes_in), sum(part.bytes_out)
    FROM radmeter.recomputed_parts() AS part
    WHERE part.username = p_username AND p_username <> '' AND part.usage_date BETWEEN p_first AND p_last
    GROUP BY part.usage_date HAVING sum(part.bytes_in) <> 0 OR sum(part.bytes_out) <> 0;
$$;
