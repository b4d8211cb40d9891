-- radmeter.note_default_zone(): row trigger on radmeter.setting, after the default time zone of the installation has changed.
-- Plans that have no zone of their own have days of the new one from now on. Days of before stay as they are.
-- Writes radmeter.plan_prices.
CREATE OR REPLACE FUNCTION radmeter.note_default_zone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO radmeter.plan_prices (plan_id, at, price, quota_type, timezone)
    SELECT plan.id, clock_timestamp(), plan.price::text::numeric, plan.quota_type, NEW.value
    FROM public.plans AS plan WHERE plan.timezone IS NULL
    ON CONFLICT (plan_id, at) DO UPDATE SET timezone = excluded.timezone;
    RETURN NULL;
END;
$$;
