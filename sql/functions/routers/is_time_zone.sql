-- radmeter.is_time_zone(name): whether PostgreSQL knows a time zone of this name. NULL is none, and allowed.
-- AT TIME ZONE also takes POSIX rules such as X-167, by which a day can be a week off.
-- Reads pg_timezone_names, which can take 0.2 s: ask only about a new value.
CREATE OR REPLACE FUNCTION radmeter.is_time_zone(p_name text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p_name IS NULL OR EXISTS (SELECT FROM pg_timezone_names WHERE lower(name) = lower(p_name));
$$;
