-- radmeter.qualified_name(username, router_id, at): what radmeter.qualified_names says of one.
CREATE OR REPLACE FUNCTION radmeter.qualified_name(p_username text, p_router_id bigint, p_at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT name FROM radmeter.qualified_names(ARRAY[p_username], ARRAY[p_router_id], ARRAY[p_at])),
                    p_username);
$$;
