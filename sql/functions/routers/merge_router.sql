-- radmeter.merge_router(from, into): begins to merge router `from` into router `into`.
-- From now on packets that name `from` find `into`, and the open sessions of `from` belong to `into`. The rest follows
-- in batches: call radmeter.merge_router_sessions, then radmeter.merge_router_finish.
-- One transaction under the lock of radmeter.ingest, so that no packet comes in between. If `into` has no MAC, it gets
-- that of `from`. `from` stays as a retired router with its other keys and points to `into`; so do routers that were
-- merged into `from` before. Each counted octet keeps its date, even if `into` has another time zone.
-- `into` gets the tenants that `from` had before the first day on which `into` was assigned itself (radmeter.router_tenant).
-- A second call for a merge that is under way or done changes nothing. Returns how many open sessions were moved.
-- Writes routers, radmeter.router_network, router_coa, router_coa_state, router_tenant, radacct (whose trigger moves the
-- counters), audit_log.
-- SQLSTATE RM001, with the reason: one of them is unknown; both are the same; one was merged already; `into` is
-- retired, or is only discovered and `from` is not; `from` has usage of a day on which both belong to different tenants.
CREATE OR REPLACE FUNCTION radmeter.merge_router(p_from bigint, p_into bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_from public.routers%ROWTYPE;
    v_into public.routers%ROWTYPE;
    v_moved integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM FROM public.routers WHERE id IN (p_from, p_into) ORDER BY id FOR UPDATE;
    SELECT * INTO v_from FROM public.routers WHERE id = p_from;
    SELECT * INTO v_into FROM public.routers WHERE id = p_into;
    IF v_from.id IS NULL OR v_into.id IS NULL THEN
        RAISE EXCEPTION 'there is no router #%', CASE WHEN v_from.id IS NULL THEN p_from ELSE p_into END
            USING ERRCODE = 'RM001';
    ELSIF p_from = p_into THEN
        RAISE EXCEPTION 'router #% "%" cannot be merged into itself', p_from, v_from.name USING ERRCODE = 'RM001';
    ELSIF v_from.merged_into = p_into THEN
        RETURN 0;
    ELSIF v_from.merged_into IS NOT NULL THEN
        RAISE EXCEPTION 'router #% "%" was merged into #% already', p_from, v_from.name, v_from.merged_into
            USING ERRCODE = 'RM001';
    ELSIF v_into.merged_into IS NOT NULL THEN
        RAISE EXCEPTION 'router #% "%" was merged into #%: merge into that one',
            p_into, v_into.name, v_into.merged_into USING ERRCODE = 'RM001';
    ELSIF v_into.status = 'retired' THEN
        RAISE EXCEPTION 'router #% "%" is retired: take it back first, with "radmeter routers retire ''#%'' --undo"',
            p_into, v_into.name, p_into USING ERRCODE = 'RM001';
    ELSIF v_into.status = 'discovered' AND v_from.status <> 'discovered' THEN
        RAISE EXCEPTION 'router #% "%" is only discovered, and #% "%" is %: claim it first',
            p_into, v_into.name, p_from, v_from.name, v_from.status USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.merge_assignments(p_from, p_into);

    UPDATE public.routers SET merged_into = p_into, updated_at = now() WHERE merged_into = p_from;
    UPDATE public.routers SET
        status = 'retired', merged_status = status, merged_into = p_into, updated_at = now(), total_usage = 0,
        mac = CASE WHEN v_into.mac IS NOT NULL THEN mac END,
        -- A discovered router may share its name with others; a retired one may not.
        name = CASE WHEN status = 'discovered' THEN format('%s (merged #%s)', name, id) ELSE name END
    WHERE id = p_from;
    UPDATE public.routers SET
        mac = coalesce(mac, v_from.mac), total_usage = total_usage + v_from.total_usage, updated_at = now()
    WHERE id = p_into;

    WITH moved AS (
        DELETE FROM radmeter.router_network WHERE router_id = p_from RETURNING network, first_seen, last_seen
    )
    INSERT INTO radmeter.router_network AS known (router_id, network, first_seen, last_seen)
    SELECT p_into, network, first_seen, last_seen FROM moved
    ON CONFLICT (router_id, network) DO UPDATE SET
        first_seen = least(known.first_seen, excluded.first_seen),
        last_seen = greatest(known.last_seen, excluded.last_seen);

    -- How requests reach it, unless that is set for `into`.
    UPDATE radmeter.router_coa SET router_id = p_into
    WHERE router_id = p_from AND NOT EXISTS (SELECT FROM radmeter.router_coa WHERE router_id = p_into);
    DELETE FROM radmeter.router_coa WHERE router_id = p_from;
    DELETE FROM radmeter.router_coa_state WHERE router_id = p_from;

    PERFORM radmeter.apply_assignments();
    PERFORM radmeter.audit('routers merge', jsonb_build_object(
        'before', jsonb_build_array(to_jsonb(v_from), to_jsonb(v_into)),
        'after', (SELECT jsonb_agg(to_jsonb(router) ORDER BY id = p_into) FROM public.routers AS router
                  WHERE id IN (p_from, p_into)),
        'days', (SELECT jsonb_agg(jsonb_build_array(router_id, usage_date, bytes_in, bytes_out)
                                  ORDER BY usage_date, router_id)
                 FROM public.router_daily_usage
                 WHERE router_id IN (p_from, p_into)
                   AND usage_date IN (SELECT usage_date FROM public.router_daily_usage WHERE router_id = p_from))));

    UPDATE public.radacct SET router_id = p_into WHERE router_id = p_from AND acctstoptime IS NULL;
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    RETURN v_moved;
END;
$$;
