-- radmeter.set_password(username, attribute, value): gives a user another password in FreeRADIUS's table radcheck. The
-- audit log notes that, and not the password.
--   attribute  Cleartext-Password or SSHA2-512-Password; the value is in its form
-- Writes radcheck, audit_log.
-- SQLSTATE RM001, with the reason: there is no such user, or radcheck cannot be written.
CREATE OR REPLACE FUNCTION radmeter.set_password(p_username text, p_attribute text, p_value text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM public.subscribers WHERE username = p_username FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user "%" with a plan: "radmeter users list" lists them, "radmeter users add" gives '
            'a plan', p_username USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.store_passwords(ARRAY[p_username], p_attribute, ARRAY[p_value]);
    PERFORM radmeter.audit('users password', jsonb_build_object('username', p_username, 'stored_as', p_attribute));
END;
$$;
