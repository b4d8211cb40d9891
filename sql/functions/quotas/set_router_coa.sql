-- radmeter.set_router_coa(id, changes): sets where and how requests are sent to a router.
--   changes   JSON object of vendor, address, port, secret, source_address, message_authenticator, signed_answers, swapped;
--             null gives a value its default, an absent one stays. The secret is encrypted before it comes here
-- What was learned about the router's answers is forgotten, and its requests are tried at once.
-- Returns whether anything changed. Writes radmeter.router_coa, router_coa_state, disconnect_queue, audit_log. The audit
-- says whether there is a secret, not which. Notifies the channel radmeter_quota.
-- SQLSTATE RM001, with the reason: there is no such router or vendor, or an address is a network.
CREATE OR REPLACE FUNCTION radmeter.set_router_coa(p_id bigint, p_changes jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before radmeter.router_coa%ROWTYPE;
    v_after radmeter.router_coa%ROWTYPE;
BEGIN
    -- Not FOR UPDATE: ingest writes router_coa_state first, and then counters, whose foreign key reads the router.
    PERFORM FROM public.routers WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    END IF;
    SELECT * INTO v_before FROM radmeter.router_coa WHERE router_id = p_id;
    v_after := jsonb_populate_record(v_before, p_changes - ARRAY(
        SELECT key FROM jsonb_object_keys(p_changes) AS key
        WHERE key NOT IN ('vendor', 'address', 'port', 'secret', 'source_address', 'message_authenticator', 'signed_answers',
                          'swapped')));
    v_after.router_id := p_id;
    v_after.vendor := coalesce(v_after.vendor, 'generic');
    v_after.message_authenticator := coalesce(v_after.message_authenticator, true);
    v_after.signed_answers := coalesce(v_after.signed_answers, false);
    v_after.swapped := coalesce(v_after.swapped, false);
    v_after.changed_at := coalesce(v_before.changed_at, now());
    IF v_after IS NOT DISTINCT FROM v_before THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM radmeter.vendor_profiles() WHERE vendor = v_after.vendor) THEN
        RAISE EXCEPTION 'vendor "%" is not known: give one of %', v_after.vendor,
            (SELECT string_agg(vendor, ', ') FROM radmeter.vendor_profiles()) USING ERRCODE = 'RM001';
    ELSIF host(v_after.address)::inet <> v_after.address OR host(v_after.source_address)::inet <> v_after.source_address THEN
        RAISE EXCEPTION 'give an address, not a network' USING ERRCODE = 'RM001';
    END IF;
    v_after.changed_at := now();
    DELETE FROM radmeter.router_coa WHERE router_id = p_id;
    INSERT INTO radmeter.router_coa SELECT v_after.*;
    UPDATE radmeter.router_coa_state SET
        coa_works = NULL, learned_at = NULL, silent_since = NULL, failures = 0, next_try_at = NULL, last_error = NULL
    WHERE router_id = p_id;
    UPDATE radmeter.disconnect_queue AS request SET next_try_at = now()
    FROM public.radacct AS session
    WHERE request.ended_at IS NULL AND request.state = 'waiting' AND request.next_try_at > now()
      AND session.radacctid = request.radacctid AND session.acctstoptime IS NULL AND session.router_id = p_id;
    PERFORM radmeter.audit('routers set', jsonb_build_object(
        'router', p_id,
        'before', CASE WHEN v_before.router_id IS NOT NULL THEN
            to_jsonb(v_before) || jsonb_build_object('secret', v_before.secret IS NOT NULL) END,
        'after', to_jsonb(v_after) || jsonb_build_object('secret', v_after.secret IS NOT NULL),
        'secret_changed', v_after.secret IS DISTINCT FROM v_before.secret));
    PERFORM pg_notify('radmeter_quota', '');
    RETURN true;
END;
$$;
