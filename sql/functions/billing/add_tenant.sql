-- radmeter.add_tenant(name, values): adds a tenant.
--   values  JSON object of columns of radmeter.tenants, and "issuer", the name of one; an absent value is the default of
--           its column. currency and digits go together. timezone is by default that of the installation
-- Returns tenants.id. Writes radmeter.tenants, audit_log.
-- SQLSTATE RM001, with the reason: there is a tenant of this name, or a value cannot be.
CREATE OR REPLACE FUNCTION radmeter.add_tenant(p_name text, p_values jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants%ROWTYPE;
BEGIN
    v_tenant := jsonb_populate_record(NULL::radmeter.tenants, p_values);
    v_tenant.name := p_name;
    v_tenant.timezone := coalesce(v_tenant.timezone, radmeter.setting_value('timezone'));
    v_tenant.tax_rate := coalesce(v_tenant.tax_rate, 0);
    v_tenant.language := coalesce(v_tenant.language, 'en');
    v_tenant.issuer_id := radmeter.issuer_id(coalesce(p_values ->> 'issuer', 'default'));
    PERFORM radmeter.check_tenant(v_tenant);
    INSERT INTO radmeter.tenants (name, currency, digits, timezone, legal_name, address, email, tax_id, tax_rate,
        tax_rule, language, issuer_id, note)
    VALUES (v_tenant.name, v_tenant.currency, v_tenant.digits, v_tenant.timezone, v_tenant.legal_name,
        v_tenant.address, v_tenant.email, v_tenant.tax_id, v_tenant.tax_rate, v_tenant.tax_rule, v_tenant.language,
        v_tenant.issuer_id, v_tenant.note)
    ON CONFLICT (name) DO NOTHING RETURNING * INTO v_tenant;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a tenant "%" already: "radmeter tenants set" changes it', p_name
            USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('tenants add', radmeter.tenant_values(v_tenant));
    RETURN v_tenant.id;
END;
$$;
