-- radmeter.refuse_unended(period, tenants): refuses to close a month that goes on, or for which packets may still come.
--   period    the first day of the month
--   tenants   tenants.id; NULL: the users
-- Called by radmeter.freeze_usage and radmeter.close_users only. Reads what radmeter.month_ends reads.
-- SQLSTATE RM001: the month has not ended and settled for one of them.
CREATE OR REPLACE FUNCTION radmeter.refuse_unended(p_period date, p_tenants bigint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_late record;
BEGIN
    SELECT ending.ends_at, ending.timezone INTO v_late FROM radmeter.month_ends(p_period, p_tenants) AS ending
    WHERE ending.settled IS NOT TRUE ORDER BY ending.ends_at DESC LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% cannot be closed yet: it ends at % (%), and packets may be % hours late',
            to_char(p_period, 'YYYY-MM'), v_late.ends_at, v_late.timezone, radmeter.setting_value('billing_settling_hours')
            USING ERRCODE = 'RM001';
    END IF;
END;
$$;
