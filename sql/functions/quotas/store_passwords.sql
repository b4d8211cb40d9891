-- radmeter.store_passwords(usernames, attribute, values): sets the passwords of users in FreeRADIUS's table radcheck.
-- Other passwords of these users there are removed. Their other rows stay.
--   attribute  Cleartext-Password or SSHA2-512-Password; the values are in its form
-- The table may be an operator's own: radmeter.radcheck_fault says whether it may be written.
-- Called by radmeter.add_subscriber, radmeter.set_password, radmeter.import_subscribers. Writes radcheck.
-- SQLSTATE RM001, with the reason: radcheck may not be written, or the attribute is another.
CREATE OR REPLACE FUNCTION radmeter.store_passwords(p_usernames text[], p_attribute text, p_values text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_fault text := (SELECT string_agg(format('%s: %s', reason, remedy), '; ') FROM radmeter.radcheck_fault());
BEGIN
    IF p_attribute NOT IN ('Cleartext-Password', 'SSHA2-512-Password') THEN
        RAISE EXCEPTION 'a password is stored as Cleartext-Password or SSHA2-512-Password, not as %', p_attribute
            USING ERRCODE = 'RM001';
    ELSIF v_fault IS NOT NULL THEN
        RAISE EXCEPTION '%', v_fault USING ERRCODE = 'RM001';
    END IF;
    DELETE FROM public.radcheck
    WHERE username = ANY (p_usernames)
      AND attribute IN ('Cleartext-Password', 'User-Password', 'Password-With-Header', 'Crypt-Password', 'MD5-Password',
          'SMD5-Password', 'SHA-Password', 'SHA1-Password', 'SSHA-Password', 'SSHA1-Password', 'SHA2-Password',
          'SHA2-224-Password', 'SHA2-256-Password', 'SHA2-384-Password', 'SHA2-512-Password', 'SSHA2-224-Password',
          'SSHA2-256-Password', 'SSHA2-384-Password', 'SSHA2-512-Password', 'SHA3-Password', 'SSHA3-224-Password',
          'SSHA3-256-Password', 'SSHA3-384-Password', 'SSHA3-512-Password', 'PBKDF2-Password', 'NT-Password',
          'LM-Password');
    INSERT INTO public.radcheck (username, attribute, op, value)
    SELECT username, p_attribute, ':=', value FROM unnest(p_usernames, p_values) AS given (username, value);
END;
$$;
