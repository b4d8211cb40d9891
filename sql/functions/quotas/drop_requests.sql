-- radmeter.drop_requests(ids): gives requests up that have not ended.
-- Returns how many. Writes radmeter.disconnect_queue, audit_log.
CREATE OR REPLACE FUNCTION radmeter.drop_requests(p_ids bigint[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_dropped jsonb;
BEGIN
    WITH dropped AS (
        UPDATE radmeter.disconnect_queue SET
            state = 'dropped', ended_at = now(), error = 'given up by an operator', claimed_by = NULL, claimed_until = NULL
        WHERE id = ANY (p_ids) AND ended_at IS NULL
        RETURNING id, username, radacctid, act
    )
    SELECT jsonb_agg(to_jsonb(dropped) ORDER BY id) INTO v_dropped FROM dropped;
    IF v_dropped IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM radmeter.audit('queue drop', jsonb_build_object('requests', v_dropped));
    RETURN jsonb_array_length(v_dropped);
END;
$$;
