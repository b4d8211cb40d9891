-- radmeter.price_top_up(id, price): says what a user pays for a top-up, without tax. It is a line of the month in which the
-- top-up was added, or of the next one that is closed.
-- Called after radmeter.top_up, in its transaction. Writes top_ups, audit_log.
-- SQLSTATE RM001: there is no such top-up, it has a price already, or the price is none.
CREATE OR REPLACE FUNCTION radmeter.price_top_up(p_id bigint, p_price numeric) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_username text;
BEGIN
    IF p_price IS NULL OR p_price < 0 OR p_price >= 1000000000000 OR scale(p_price) > 4 THEN
        RAISE EXCEPTION '% is not a price with at most four decimals, such as 19.90', p_price USING ERRCODE = 'RM001';
    END IF;
    UPDATE public.top_ups SET price = p_price WHERE id = p_id AND price IS NULL RETURNING username INTO v_username;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no top-up #% without a price: "radmeter users show" lists those of a user', p_id
            USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('users top-up --price', jsonb_build_object(
        'username', v_username, 'top_up', p_id, 'price', p_price));
END;
$$;
