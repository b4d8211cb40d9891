-- radmeter.issuer_id(name): the id of an issuer. Called by the functions that take one. Reads radmeter.issuers.
-- SQLSTATE RM001: there is no such issuer.
CREATE OR REPLACE FUNCTION radmeter.issuer_id(p_name text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id bigint;
BEGIN
    SELECT id INTO v_id FROM radmeter.issuers WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no issuer "%": "radmeter billing issuers list" lists them', p_name
            USING ERRCODE = 'RM001';
    END IF;
    RETURN v_id;
END;
$$;
