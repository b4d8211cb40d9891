-- radmeter.drop_rejected(ids): deletes rejected packets. audit_log keeps their node, seq, arrival and reason, but not
-- their attributes.
-- Returns how many were deleted. Writes rejected_packet, audit_log.
CREATE OR REPLACE FUNCTION radmeter.drop_rejected(p_ids bigint[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_dropped jsonb;
BEGIN
    WITH dropped AS (
        DELETE FROM public.rejected_packet WHERE id = ANY (p_ids) RETURNING id, source AS node, seq, received_at, reason
    )
    SELECT jsonb_agg(to_jsonb(dropped) ORDER BY id) INTO v_dropped FROM dropped;
    IF v_dropped IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM radmeter.audit('rejected drop', jsonb_build_object('packets', v_dropped));
    RETURN jsonb_array_length(v_dropped);
END;
$$;
