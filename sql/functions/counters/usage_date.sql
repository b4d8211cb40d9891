-- radmeter.usage_date(router, at): the day of an instant in the router's time zone, or in the installation's time zone
-- if the router has none. Reads routers, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.usage_date(p_router_id bigint, p_at timestamptz) RETURNS date
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (p_at AT TIME ZONE coalesce(
        (SELECT timezone FROM public.routers WHERE id = p_router_id),
        radmeter.setting_value('timezone')))::date;
END;
$$;
