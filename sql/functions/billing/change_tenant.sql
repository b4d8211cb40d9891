-- radmeter.change_tenant(tenant, changes): changes a tenant. Documents keep what was copied into them.
--   tenant   its name or number
--   changes  JSON object of columns of radmeter.tenants, and "issuer", the name of one; null clears a value, an absent
--            one stays. currency and digits go together
-- Returns whether anything changed. Writes radmeter.tenants, audit_log.
-- SQLSTATE RM001, with the reason: there is no such tenant, the name is taken, a value cannot be, or the currency cannot
-- change since the tenant, or a user of the tenant, has documents in it.
CREATE OR REPLACE FUNCTION radmeter.change_tenant(p_tenant text, p_changes jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants%ROWTYPE;
    v_new radmeter.tenants%ROWTYPE;
BEGIN
    SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant) FOR UPDATE;
    v_new := jsonb_populate_record(v_tenant, p_changes - ARRAY(
        SELECT key FROM jsonb_object_keys(p_changes) AS key
        WHERE key NOT IN ('name', 'currency', 'digits', 'timezone', 'legal_name', 'address', 'email', 'tax_id',
                          'tax_rate', 'tax_rule', 'language', 'note')));
    IF p_changes ? 'issuer' THEN
        v_new.issuer_id := radmeter.issuer_id(p_changes ->> 'issuer');
    END IF;
    IF v_new IS NOT DISTINCT FROM v_tenant THEN
        RETURN false;
    END IF;
    PERFORM radmeter.check_tenant(v_new);
    IF (v_new.currency, v_new.digits) IS DISTINCT FROM (v_tenant.currency, v_tenant.digits) AND EXISTS (
            SELECT FROM public.invoices WHERE tenant_id = v_tenant.id OR of_tenant_id = v_tenant.id) THEN
        RAISE EXCEPTION 'the tenant "%" has documents in %: add another tenant for another currency, and assign the '
            'routers to it from a day on', v_tenant.name, v_tenant.currency USING ERRCODE = 'RM001';
    END IF;
    BEGIN
        UPDATE radmeter.tenants SET
            name = v_new.name, currency = v_new.currency, digits = v_new.digits, timezone = v_new.timezone,
            legal_name = v_new.legal_name, address = v_new.address, email = v_new.email, tax_id = v_new.tax_id,
            tax_rate = v_new.tax_rate, tax_rule = v_new.tax_rule, language = v_new.language,
            issuer_id = v_new.issuer_id, note = v_new.note, updated_at = now()
        WHERE id = v_tenant.id RETURNING * INTO v_new;
    EXCEPTION WHEN unique_violation THEN
        RAISE EXCEPTION 'there is a tenant "%" already: give another name', v_new.name USING ERRCODE = 'RM001';
    END;
    PERFORM radmeter.audit('tenants set', jsonb_build_object(
        'before', radmeter.tenant_values(v_tenant), 'after', radmeter.tenant_values(v_new)));
    RETURN true;
END;
$$;
