-- radmeter.backfill_leave([radacctids]): leaves adopted sessions that a backfill has set aside out of the counters for
-- good. Those whose octets a packet replaced are none of them: packets count them. They stay in the list, with the time of
-- this decision, and can still be counted by radmeter.backfill_correct.
--   radacctids  NULL: all that are set aside
-- Returns how many. Writes radmeter.backfill_rejected, audit_log.
CREATE OR REPLACE FUNCTION radmeter.backfill_leave(p_radacctids bigint[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    WITH decided AS (
        UPDATE radmeter.backfill_rejected SET left_at = clock_timestamp()
        WHERE left_at IS NULL AND replaced_at IS NULL AND (p_radacctids IS NULL OR radacctid = ANY (p_radacctids))
        RETURNING radacctid
    )
    SELECT array_agg(radacctid ORDER BY radacctid) INTO v_ids FROM decided;
    IF v_ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM radmeter.audit('backfill leave', jsonb_build_object(
        'sessions', cardinality(v_ids), 'radacctids', to_jsonb(v_ids[1:1000])));
    RETURN cardinality(v_ids);
END;
$$;
