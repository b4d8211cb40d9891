-- radmeter.note_plan_price(): statement trigger on plans. Notes what a plan costs since when, in radmeter.plan_prices. The
-- first price of a plan holds since ever.
-- changed_rows are the new rows. An UPDATE has former_rows, too.
-- The columns are not named by the trigger: then PostgreSQL would not let their types change (decimal_columns.py).
-- Writes radmeter.plan_prices.
CREATE OR REPLACE FUNCTION radmeter.note_plan_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO radmeter.plan_prices (plan_id, at, price)
        SELECT id, '-infinity', price::text::numeric FROM changed_rows
        ON CONFLICT (plan_id, at) DO UPDATE SET price = excluded.price;
    ELSE
        INSERT INTO radmeter.plan_prices (plan_id, at, price)
        SELECT changed.id, clock_timestamp(), changed.price::text::numeric
        FROM changed_rows AS changed JOIN former_rows AS former ON former.id = changed.id
        WHERE changed.price <> former.price
        ON CONFLICT (plan_id, at) DO UPDATE SET price = excluded.price;
    END IF;
    RETURN NULL;
END;
$$;
