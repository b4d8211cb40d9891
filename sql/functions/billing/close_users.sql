-- radmeter.close_users(period, settings): closes a month for the users: their plans and top-ups. It also says that the
-- month was closed for all: what tenants get of it later is an adjustment.
--   period    the first day of the month
--   settings  what the month is closed with
-- The caller holds the lock radmeter.billing. Returns billing_close.id. Writes radmeter.billing_close.
-- SQLSTATE RM001: the month has not ended and settled in the zones of all plans.
CREATE OR REPLACE FUNCTION radmeter.close_users(p_period date, p_settings jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_close bigint;
BEGIN
    PERFORM radmeter.refuse_unended(p_period, NULL);
    INSERT INTO radmeter.billing_close (period, tenant_id, run, settings)
    SELECT p_period, NULL, coalesce(max(former.run), 0) + 1, p_settings FROM radmeter.billing_close AS former
    -- Made by radmeter.restore_invoice for single users.
    WHERE former.period = p_period AND former.tenant_id IS NULL AND former.settings ? 'restored'
    RETURNING id INTO v_close;
    RETURN v_close;
END;
$$;
