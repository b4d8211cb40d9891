-- radmeter.revoke_key(name): ends all keys of this name at once, those that were rotated too.
-- Returns how many it ended. Writes radmeter.api_keys, audit_log.
-- SQLSTATE RM001: there is none in use.
CREATE OR REPLACE FUNCTION radmeter.revoke_key(p_name text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids text[];
BEGIN
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
