-- radmeter.price_top_up(id, price): says what a user pays for a top-up, without tax. It is a line of the month in which the
-- top-up was added, or of the next one that is closed.
-- Who sells a top-up says its price with it, in the transaction of radmeter.top_up. One from before, which was given for
-- nothing, never gets a price. Writes top_ups, audit_log.
-- SQLSTATE RM001: this transaction has added no such top-up, it has a price already, or the price is none.
CREATE OR REPLACE FUNCTION radmeter.price_top_up(p_id bigint, p_price numeric) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_username text;
BEGIN
    IF p_price IS NULL OR p_price < 0 OR p_price >= 1000000000000 OR scale(p_price) > 4 THEN
        RAISE EXCEPTION '% is not a price with at most four decimals, such as 19.90', p_price USING ERRCODE = 'RM001';
    END IF;
    UPDATE public.top_ups SET price = p_price WHERE id = p_id AND price IS NULL AND added_at = now()
    RETURNING username INTO v_username;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this transaction has added no top-up #% without a price: a top-up gets its price when it is sold, '
            'with "radmeter users top-up --price"', p_id USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('users top-up --price', jsonb_build_object(
        'username', v_username, 'top_up', p_id, 'price', p_price));
END;
$$;
