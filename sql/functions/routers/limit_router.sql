-- radmeter.limit_router(client): the router to which usage goes whose own router is beyond the limit
-- discoveries_per_client_hour. Each RADIUS client has its own. It is made when it is first needed.
-- No packet names it. It is found by its discovery key, also if it was retired or merged into another.
-- Returns routers.id. Writes routers.
CREATE OR REPLACE FUNCTION radmeter.limit_router(p_client text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text := 'limit:' || p_client;
    v_id bigint;
BEGIN
    SELECT coalesce(merged_into, id) INTO v_id FROM public.routers WHERE discovery_key = v_key;
    IF NOT FOUND THEN
        INSERT INTO public.routers (name, status, discovery_key)
        VALUES ('discovery limit reached: ' || p_client, 'discovered', v_key)
        RETURNING id INTO v_id;
    END IF;
    RETURN v_id;
END;
$$;
