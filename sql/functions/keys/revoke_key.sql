-- radmeter.revoke_key(name): ends all keys of this name at once, those that were rotated too.
-- Returns how many it ended. Writes radmeter.api_keys, audit_log.
-- Members of radmeter_noc end what they may add, keys with the role reader: who answers the telephone cannot cut the
-- accountants or a tenant off.
-- SQLSTATE RM001, with the reason: there is none in use, or the caller may not end one of its role.
CREATE OR REPLACE FUNCTION radmeter.revoke_key(p_name text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids text[];
    v_role text;
BEGIN
    SELECT role INTO v_role FROM radmeter.api_keys
    WHERE name = p_name AND revoked_at IS NULL AND role <> 'reader' LIMIT 1;
    IF FOUND AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'only a member of % may revoke a key with the role %', current_user, v_role
            USING ERRCODE = 'RM001';
    END IF;
    WITH ended AS (
        UPDATE radmeter.api_keys SET revoked_at = now() WHERE name = p_name AND revoked_at IS NULL RETURNING id)
    SELECT array_agg(id) INTO v_ids FROM ended;
    IF v_ids IS NULL THEN
        RAISE EXCEPTION 'there is no key ''%'' in use: `radmeter keys list` lists them', p_name USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('keys revoke', jsonb_build_object('name', p_name, 'ids', to_jsonb(v_ids)));
    RETURN cardinality(v_ids);
END;
$$;
