-- radmeter.login_rows(username): how many rows of radcheck name a user; 0 if the table is not radmeter's to write.
-- No role but FreeRADIUS's and the owner may read the rows themselves: they hold passwords.
CREATE OR REPLACE FUNCTION radmeter.login_rows(p_username text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM radmeter.radcheck_fault()) THEN
        RETURN (SELECT count(*) FROM public.radcheck WHERE username = p_username);
    END IF;
    RETURN 0;
END;
$$;
