-- radmeter.limit_value(name): the value in force of a limit of radmeter.limits; NULL if the limit is off.
CREATE OR REPLACE FUNCTION radmeter.limit_value(p_name text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT value FROM radmeter.limits() WHERE name = p_name;
$$;
