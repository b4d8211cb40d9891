-- radmeter.erasure_pseudonym(username): the pseudonym of the erasure of a user that is under way.
-- SQLSTATE RM001 if there is none. Called by the functions of an erasure only. Reads radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.erasure_pseudonym(p_username text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pseudonym text := (SELECT pseudonym FROM radmeter.erasure WHERE username = p_username);
BEGIN
    IF v_pseudonym IS NULL THEN
        RAISE EXCEPTION 'no erasure of this user is under way' USING ERRCODE = 'RM001';
    END IF;
    RETURN v_pseudonym;
END;
$$;
