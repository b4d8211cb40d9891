-- radmeter.add_router(name, mac, nas_identifier, ip_address, timezone): adds a registered router.
-- All values except the name may be NULL. Returns routers.id. Writes routers.
-- SQLSTATE RM001, with the reason: another router has the name or MAC, or the router was discovered and must be
-- claimed.
CREATE OR REPLACE FUNCTION radmeter.add_router(
    p_name text, p_mac macaddr, p_nas_identifier text, p_ip_address inet, p_timezone text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_outcome record;
BEGIN
    SELECT * INTO v_outcome
    FROM radmeter.import_routers(json_build_array(json_build_object('line', 1, 'name', p_name, 'mac', p_mac,
        'nas_identifier', p_nas_identifier, 'ip_address', p_ip_address, 'timezone', p_timezone)));
    IF v_outcome.outcome = 'claimed' THEN
        RAISE EXCEPTION 'this router was discovered as #% and has usage: claim it with "radmeter routers claim ''#%''"',
            v_outcome.router_id, v_outcome.router_id USING ERRCODE = 'RM001';
    ELSIF v_outcome.outcome IN ('updated', 'unchanged') THEN
        RAISE EXCEPTION 'there is a router "%" already: #%', p_name, v_outcome.router_id USING ERRCODE = 'RM001';
    ELSIF v_outcome.outcome = 'refused' THEN
        RAISE EXCEPTION '%', v_outcome.reason USING ERRCODE = 'RM001';
    END IF;
    RETURN v_outcome.router_id;
END;
$$;
