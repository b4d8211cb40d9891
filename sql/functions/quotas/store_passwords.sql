-- radmeter.store_passwords(usernames, attribute, values): sets the passwords of users in FreeRADIUS's table radcheck.
-- Other passwords of these users there are removed. Their other rows stay.
--   attribute  Cleartext-Password or SSHA2-512-Password; the values are in its form
-- The table may be an operator's own. If it is another role's, that role could have a trigger on it, which would run
-- with the rights of the owner of this function. So such a table is refused.
-- Called by radmeter.add_subscriber, radmeter.set_password, radmeter.import_subscribers. Writes radcheck.
-- SQLSTATE RM001, with the reason: there is no radcheck, it belongs to another role or may not be written, or the
-- attribute is another.
CREATE OR REPLACE FUNCTION radmeter.store_passwords(p_usernames text[], p_attribute text, p_values text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_owner regrole := (SELECT relowner FROM pg_class WHERE oid = to_regclass('public.radcheck'));
BEGIN
    IF p_attribute NOT IN ('Cleartext-Password', 'SSHA2-512-Password') THEN
        RAISE EXCEPTION 'a password is stored as Cleartext-Password or SSHA2-512-Password, not as %', p_attribute
            USING ERRCODE = 'RM001';
    ELSIF v_owner IS NULL THEN
        RAISE EXCEPTION 'there is no table public.radcheck: run "radmeter migrate up"' USING ERRCODE = 'RM001';
    ELSIF v_owner <> current_user::regrole
            AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = v_owner AND rolsuper) THEN
        RAISE EXCEPTION 'public.radcheck belongs to %, and passwords are not written into a table of another role: '
            'enter them there yourself, or as a superuser ALTER TABLE public.radcheck OWNER TO %; '
            'GRANT SELECT, INSERT, UPDATE, DELETE ON public.radcheck TO %', v_owner, quote_ident(current_user), v_owner
            USING ERRCODE = 'RM001';
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
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% may not write public.radcheck: as its owner, GRANT SELECT, INSERT, DELETE ON public.radcheck '
            'TO %; GRANT USAGE ON SEQUENCE % TO %', quote_ident(current_user), quote_ident(current_user),
            coalesce(pg_get_serial_sequence('public.radcheck', 'id'), 'public.radcheck_id_seq'),
            quote_ident(current_user) USING ERRCODE = 'RM001';
END;
$$;
