-- radmeter.tenant_id(tenant): the id of the tenant of this name, or of this number if no tenant has that name.
-- Called by the functions that take a tenant. Reads radmeter.tenants.
-- SQLSTATE RM001: there is no such tenant.
CREATE OR REPLACE FUNCTION radmeter.tenant_id(p_tenant text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id bigint;
BEGIN
    SELECT id INTO v_id FROM radmeter.tenants
    WHERE name = p_tenant OR p_tenant ~ '^[1-9][0-9]{0,17}$' AND id::text = p_tenant
    ORDER BY name = p_tenant DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no tenant ''%'': `radmeter tenants list` lists them', p_tenant USING ERRCODE = 'RM001';
    END IF;
    RETURN v_id;
END;
$$;
