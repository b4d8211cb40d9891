-- radmeter.backfill_range(first, end): counts the history of the adopted sessions with ids from first to before end. The
-- sums go into radmeter.backfill_user and radmeter.backfill_router. radmeter.backfill_move adds them to the counters.
-- One statement reads the rows, so all are read in one snapshot. The range is marked as counted in the same transaction:
-- its sums exist if and only if it is marked. A session's history is the same before and after a change of the session.
-- Sessions with values that no router can have reported are set aside, by row: radmeter.backfill_rejected has them.
-- Returns how many adopted sessions there are, and how many have an unknown router. If any has, nothing is done.
-- An empty user name is no user, as in radmeter.count_inserted.
-- Takes no lock that a packet needs. Writes radmeter.backfill_user, backfill_router, backfill_rejected, adopted_move,
-- backfill.
CREATE OR REPLACE FUNCTION radmeter.backfill_range(
    p_first bigint, p_end bigint, OUT sessions bigint, OUT unknown bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET work_mem = '64MB' SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_rejected bigint;
BEGIN
    WITH part AS MATERIALIZED (
        SELECT part.radacctid, part.username, part.router_id, part.usage_date, part.period_start,
               part.bytes_in, part.bytes_out, radmeter.history_fault(part.bytes_in, part.bytes_out, part.at) AS fault
        FROM radmeter.adoption_baselines() AS part WHERE part.radacctid >= p_first AND part.radacctid < p_end
    ), found AS MATERIALIZED (
        SELECT count(*) AS sessions, count(*) FILTER (WHERE usage_date IS NULL) AS unknown FROM part
    ), users AS (
        INSERT INTO radmeter.backfill_user (bucket, usernames, period_starts, bytes_in, bytes_out)
        SELECT hashtext(username) & 127, array_agg(username), array_agg(period_start),
               array_agg(bytes_in), array_agg(bytes_out)
        -- Not summed here: few users have many sessions in one range. radmeter.backfill_move sums over many ranges.
        FROM part WHERE username <> '' AND (bytes_in <> 0 OR bytes_out <> 0) AND fault IS NULL
        GROUP BY 1 HAVING (SELECT found.unknown FROM found) = 0
    ), routers AS (
        INSERT INTO radmeter.backfill_router (bucket, router_ids, usage_dates, bytes_in, bytes_out)
        SELECT hashint8(router_id) & 127, array_agg(router_id), array_agg(usage_date),
               array_agg(bytes_in), array_agg(bytes_out)
        FROM (SELECT router_id, usage_date, radmeter.as_counter(sum(bytes_in)) AS bytes_in,
                     radmeter.as_counter(sum(bytes_out)) AS bytes_out
              FROM part WHERE (bytes_in <> 0 OR bytes_out <> 0) AND fault IS NULL
              GROUP BY router_id, usage_date) AS sums
        GROUP BY 1 HAVING (SELECT found.unknown FROM found) = 0
    ), rejected AS (
        INSERT INTO radmeter.backfill_rejected (radacctid, reason)
        SELECT radacctid, fault FROM part WHERE fault IS NOT NULL AND (SELECT found.unknown FROM found) = 0
        ON CONFLICT (radacctid) DO NOTHING RETURNING radacctid
    ), seen AS (
        -- These changes of user or router are counted just now: the snapshot sees the new user and router.
        DELETE FROM radmeter.adopted_move
        WHERE radacctid >= p_first AND radacctid < p_end AND (SELECT found.unknown FROM found) = 0
    )
    SELECT found.sessions, found.unknown, (SELECT count(*) FROM rejected) INTO sessions, unknown, v_rejected FROM found;

    IF unknown = 0 THEN
        UPDATE radmeter.backfill SET
            counted = counted + int8multirange(int8range(p_first, p_end)), counted_rows = counted_rows + sessions - v_rejected,
            run_rows = run_rows + sessions, run_ids = run_ids + p_end - p_first, changed_at = clock_timestamp()
        WHERE NOT counted && int8range(p_first, p_end);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the sessions from % to % are counted already', p_first, p_end - 1
                USING ERRCODE = 'RM001';
        END IF;
    END IF;
END;
$$;
