-- radmeter.set_login_setting(name, value): sets a setting of radmeter.login_settings.
--   value  NULL: the default again
-- Returns whether the value in force changed. Writes radmeter.setting, audit_log.
-- SQLSTATE RM001, with the reason: there is no such setting, or it does not take the value.
CREATE OR REPLACE FUNCTION radmeter.set_login_setting(p_name text, p_value text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before text;
    v_after text;
    v_wanted text;
BEGIN
    SELECT CASE
               WHEN p_value IS NULL THEN NULL
               WHEN p_name = 'class' AND p_value NOT IN ('on', 'off') THEN 'on or off'
               WHEN p_name = 'octet_limits' AND p_value NOT IN ('changeable', 'always') THEN 'changeable or always'
               WHEN p_name = 'unknown_users' AND p_value NOT IN ('admit', 'refuse') THEN 'admit or refuse'
               -- RFC 2869 section 5.16: not less than 60.
               WHEN p_name = 'interim_seconds' AND p_value <> 'off'
                    AND (p_value !~ '^[0-9]{2,5}$' OR p_value::integer NOT BETWEEN 60 AND 86400)
                   THEN 'a number of seconds from 60 to 86400, or off'
               -- RFC 2865 section 5: an attribute has at most 253 octets.
               WHEN starts_with(p_name, 'message_')
                    AND (octet_length(p_value) NOT BETWEEN 1 AND 253 OR p_value ~ '[[:cntrl:]]')
                   THEN 'a line of 1 to 253 octets'
           END
    INTO v_wanted
    FROM radmeter.login_settings() WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no login setting "%": there are %', p_name,
            (SELECT string_agg(name, ', ') FROM radmeter.login_settings()) USING ERRCODE = 'RM001';
    ELSIF v_wanted IS NOT NULL THEN
        RAISE EXCEPTION 'the login setting % is %, not "%"', p_name, v_wanted, p_value USING ERRCODE = 'RM001';
    END IF;
    -- Two changes at once must not both report the same value before.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.set_login_setting', 0));
    SELECT value INTO v_before FROM radmeter.login_settings() WHERE name = p_name;
    IF p_value IS NULL THEN
        DELETE FROM radmeter.setting WHERE name = 'login_' || p_name;
    ELSE
        INSERT INTO radmeter.setting AS setting (name, value) VALUES ('login_' || p_name, p_value)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_at = now()
        WHERE setting.value <> excluded.value;
    END IF;
    SELECT value INTO v_after FROM radmeter.login_settings() WHERE name = p_name;
    IF v_after = v_before THEN
        RETURN false;
    END IF;
    PERFORM radmeter.audit('login setting', jsonb_build_object('setting', p_name, 'before', v_before, 'after', v_after));
    RETURN true;
END;
$$;
