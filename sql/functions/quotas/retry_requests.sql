-- radmeter.retry_requests(ids): sends requests again, now. Of those that were given up, only if the session has no other.
-- Their routers are tried at once, even if they were silent.
-- Returns how many. Writes radmeter.disconnect_queue, router_coa_state, audit_log. Notifies the channel radmeter_quota.
CREATE OR REPLACE FUNCTION radmeter.retry_requests(p_ids bigint[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_retried jsonb;
BEGIN
    PERFORM FROM radmeter.disconnect_queue WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    WITH retried AS (
        UPDATE radmeter.disconnect_queue AS request SET
            state = 'waiting', next_try_at = now(), attempts = 0, naks = 0, acks = 0, identity_set = 0, ended_at = NULL,
            claimed_by = NULL, claimed_until = NULL
        FROM public.radacct AS session
        WHERE request.id = ANY (p_ids) AND request.state NOT IN ('done', 'sent')
          AND session.radacctid = request.radacctid AND session.acctstoptime IS NULL
          AND (request.ended_at IS NULL
               OR NOT EXISTS (SELECT FROM radmeter.disconnect_queue AS other
                              WHERE other.radacctid = request.radacctid AND other.act = request.act
                                AND (other.ended_at IS NULL OR other.id > request.id AND other.id = ANY (p_ids))))
        RETURNING request.id, request.username, request.radacctid, request.act, session.router_id
    ), hopeful AS (
        UPDATE radmeter.router_coa_state AS state SET next_try_at = NULL
        FROM retried WHERE state.router_id = retried.router_id
    )
    SELECT jsonb_agg(to_jsonb(retried) ORDER BY id) INTO v_retried FROM retried;
    IF v_retried IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM radmeter.audit('queue retry', jsonb_build_object('requests', v_retried));
    PERFORM pg_notify('radmeter_quota', '');
    RETURN jsonb_array_length(v_retried);
END;
$$;
