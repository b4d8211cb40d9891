-- radmeter.user_name_fault(name): why a text cannot be the name of a user, or NULL if it can. A User-Name has 1 to 253
-- octets (RFC 2865 section 5). A blank at an end is always a slip, and no packet of the user would find the name.
CREATE OR REPLACE FUNCTION radmeter.user_name_fault(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN coalesce(p_name, '') = '' THEN 'it has no user name'
        WHEN octet_length(p_name) > 253 THEN
            format('the user name has %s octets, and RADIUS carries 253 at most', octet_length(p_name))
        WHEN p_name ~ '^\s|\s$' THEN format('the user name "%s" begins or ends with a blank', p_name)
        WHEN p_name ~ '[\x01-\x1f\x7f]' THEN 'the user name has control characters'
    END;
$$;
