-- radmeter.check_tenant(tenant): refuses values of a tenant that cannot be.
-- Called by radmeter.add_tenant, radmeter.change_tenant.
-- SQLSTATE RM001, with the reason.
CREATE OR REPLACE FUNCTION radmeter.check_tenant(p_tenant radmeter.tenants) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_tenant.name !~ '[^[:space:]]' OR length(p_tenant.name) > 200 OR p_tenant.name ~ '^\s|\s$' THEN
        RAISE EXCEPTION 'the name of a tenant has 1 to 200 characters, and no blanks at its ends'
            USING ERRCODE = 'RM001';
    ELSIF p_tenant.name ~ '^[0-9]+$' OR lower(p_tenant.name) IN ('none', 'off') THEN
        RAISE EXCEPTION 'a tenant cannot be called "%": commands take that for a number, or for no tenant',
            p_tenant.name USING ERRCODE = 'RM001';
    ELSIF p_tenant.timezone IS NULL OR NOT radmeter.is_time_zone(p_tenant.timezone) THEN
        RAISE EXCEPTION 'there is no time zone "%": give an IANA name, such as Europe/Berlin', p_tenant.timezone
            USING ERRCODE = 'RM001';
    ELSIF p_tenant.tax_rate NOT BETWEEN 0 AND 100 OR scale(p_tenant.tax_rate) > 12 THEN
        RAISE EXCEPTION 'a tax rate is from 0 to 100 percent, not %', p_tenant.tax_rate USING ERRCODE = 'RM001';
    ELSIF p_tenant.language !~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$' THEN
        RAISE EXCEPTION 'a language is a code such as en or pt-BR, not "%"', p_tenant.language USING ERRCODE = 'RM001';
    ELSIF p_tenant.currency !~ '^[A-Z]{3}$' OR p_tenant.digits NOT BETWEEN 0 AND 4
          OR (p_tenant.currency IS NULL) <> (p_tenant.digits IS NULL) THEN
        RAISE EXCEPTION 'a currency is three letters of ISO 4217, and has 0 to 4 digits' USING ERRCODE = 'RM001';
    END IF;
END;
$$;
