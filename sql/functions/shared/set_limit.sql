-- radmeter.set_limit(name, value): sets a limit of radmeter.limits.
--   value  a whole number from 0; 'off': no limit; NULL: the default again
-- Returns whether the value in force changed. Writes radmeter.setting, audit_log.
-- SQLSTATE RM001, with the reason: there is no such limit, or the value is not one.
CREATE OR REPLACE FUNCTION radmeter.set_limit(p_name text, p_value text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before bigint;
    v_after bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM radmeter.limits() WHERE name = p_name) THEN
        RAISE EXCEPTION 'there is no limit "%": there are %', p_name,
            (SELECT string_agg(name, ', ') FROM radmeter.limits()) USING ERRCODE = 'RM001';
    ELSIF p_value <> 'off' AND p_value !~ '^[0-9]{1,15}$' THEN
        RAISE EXCEPTION 'the limit % is a whole number from 0, or off, not "%"', p_name, p_value
            USING ERRCODE = 'RM001';
    END IF;
    -- Two changes at once must not both report the same value before.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.set_limit', 0));
    v_before := radmeter.limit_value(p_name);
    IF p_value IS NULL THEN
        DELETE FROM radmeter.setting WHERE name = p_name;
    ELSE
        INSERT INTO radmeter.setting AS setting (name, value) VALUES (p_name, p_value)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = now()
        WHERE setting.value <> excluded.value;
    END IF;
    v_after := radmeter.limit_value(p_name);
    IF v_after IS NOT DISTINCT FROM v_before THEN
        RETURN false;
    END IF;
    PERFORM radmeter.audit('limits set', jsonb_build_object('limit', p_name, 'before', v_before, 'after', v_after));
    RETURN true;
END;
$$;
