-- radmeter.note_plan_price(): statement trigger on plans. Notes what a plan costs since when, for which period, and in
-- which time zone, in radmeter.plan_prices. What a plan was first holds since ever; a
-- number that was given before holds from now on. A plan without a time zone has the default of then: if that changes,
-- radmeter.note_default_zone notes the new one.
-- changed_rows are the new rows. An UPDATE has former_rows, too.
-- The columns are not named by the trigger: then PostgreSQL would not let their types change (decimal_columns.py).
-- Writes radmeter.plan_prices.
CREATE OR REPLACE FUNCTION radmeter.note_plan_price() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
        SELECT changed.id,
               CASE WHEN EXISTS (SELECT FROM radmeter.plan_prices AS known WHERE known.plan_id = changed.id)
                    THEN clock_timestamp() ELSE '-infinity' END,
               changed.price::text::numeric, changed.quota_type,
               coalesce(changed.timezone, radmeter.setting_value('timezone'))
        FROM changed_rows AS changed
        ON CONFLICT (plan_id, at) DO UPDATE SET
            price = excluded.price, quota_type = excluded.quota_type, timezone = excluded.timezone;
    ELSE
        INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
        SELECT changed.id, clock_timestamp(), changed.price::text::numeric, changed.quota_type,
               coalesce(changed.timezone, radmeter.setting_value('timezone'))
        FROM changed_rows AS changed JOIN former_rows AS former ON former.id = changed.id
        WHERE (changed.price::text::numeric, changed.quota_type, changed.timezone)
              IS DISTINCT FROM (former.price::text::numeric, former.quota_type, former.timezone)
        ON CONFLICT (plan_id, at) DO UPDATE SET
            price = excluded.price, quota_type = excluded.quota_type, timezone = excluded.timezone;
    END IF;
    RETURN NULL;
END;
$$;
