-- radmeter.set_billing_setting(name, value): sets a setting of radmeter.billing_settings. Documents that are there already
-- stay as they are.
-- Returns whether the value changed. Writes radmeter.setting, audit_log.
-- SQLSTATE RM001, with the reason: there is no such setting, or it does not take the value.
CREATE OR REPLACE FUNCTION radmeter.set_billing_setting(p_name text, p_value text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before text;
    v_wanted text;
BEGIN
    -- No month may be closed meanwhile, and two changes at once must not both report the same value before.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.billing', 0));
    SELECT value, CASE
               WHEN p_name = 'currency' AND p_value !~ '^[A-Z]{3}$' THEN 'a code of ISO 4217, such as EUR'
               WHEN p_name = 'rounding' AND p_value NOT IN ('half-up', 'half-even') THEN 'half-up or half-even'
               WHEN p_name = 'tax' AND p_value NOT IN ('sum', 'line') THEN 'sum or line'
               WHEN p_name = 'zero' AND p_value NOT IN ('skip', 'draft') THEN 'skip or draft'
               WHEN p_name = 'users_tax_rate'
                    AND (p_value !~ '^[0-9]{1,3}(\.[0-9]{1,12})?$' OR p_value::numeric > 100)
                   THEN 'a percentage from 0 to 100, such as 19'
               WHEN p_name = 'users_tax_rule' AND (p_value = '' OR length(p_value) > 200 OR p_value ~ '[[:cntrl:]]')
                   THEN 'a line of 1 to 200 characters'
               WHEN p_name = 'settling_hours' AND (p_value !~ '^[0-9]{1,4}$' OR p_value::integer > 8760)
                   THEN 'a number of hours from 0 to 8760'
           END
    INTO v_before, v_wanted
    FROM radmeter.billing_settings() WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no setting of billing "%": there are %', p_name,
            (SELECT string_agg(name, ', ') FROM radmeter.billing_settings()) USING ERRCODE = 'RM001';
    ELSIF v_wanted IS NOT NULL OR p_value IS NULL THEN
        RAISE EXCEPTION 'the setting % is %, not "%"', p_name, v_wanted, p_value USING ERRCODE = 'RM001';
    ELSIF v_before = p_value THEN
        RETURN false;
    END IF;
    INSERT INTO radmeter.setting AS setting (name, value) VALUES ('billing_' || p_name, p_value)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = now();
    PERFORM radmeter.audit('billing settings', jsonb_build_object('setting', p_name, 'before', v_before, 'after', p_value));
    RETURN true;
END;
$$;
