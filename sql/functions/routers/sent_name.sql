-- radmeter.sent_name(radacctid, username): the user name of a session as its router sends it. Of most sessions it is the
-- session's own.
CREATE OR REPLACE FUNCTION radmeter.sent_name(p_radacctid bigint, p_username text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT username FROM radmeter.sent_username WHERE radacctid = p_radacctid), p_username);
$$;
