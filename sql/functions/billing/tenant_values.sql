-- radmeter.tenant_values(tenant): the values of a tenant as the audit log keeps them, with the issuer's name.
-- Called by radmeter.add_tenant, radmeter.change_tenant. Reads radmeter.issuers.
CREATE OR REPLACE FUNCTION radmeter.tenant_values(p_tenant radmeter.tenants) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb(p_tenant) - ARRAY['issuer_id', 'created_at', 'updated_at']
        || jsonb_build_object('issuer', (SELECT name FROM radmeter.issuers WHERE id = p_tenant.issuer_id));
$$;
