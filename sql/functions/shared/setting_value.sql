-- radmeter.setting_value(name): the value of a setting of this installation.
-- Returns text; NULL if there is no such setting. Reads radmeter.setting.
-- PL/pgSQL keeps the plan for the next call. An SQL function that reads a table is planned anew in each statement.
CREATE OR REPLACE FUNCTION radmeter.setting_value(p_name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT value FROM radmeter.setting WHERE name = p_name);
END;
$$;
