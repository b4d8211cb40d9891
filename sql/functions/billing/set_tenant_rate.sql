-- radmeter.set_tenant_rate(tenant, from, terms): says what a tenant's usage costs from a day on, until the next rate.
--   tenant  its name or number
--   terms   JSON object, as radmeter.tenant_rates keeps it: the caller has checked it (radmeter.billing.rates);
--           NULL: the rate of this day is removed, and the one before it goes on
-- Issued documents stay as they are. What comes late for a month that is closed is priced by the rates that the month has
-- then: the month in full, less what was billed for it.
-- Returns whether anything changed, the first day of the next rate, and how many closed months of the tenant the days from
-- this one to the next rate reach into, with the first of them. Writes radmeter.tenant_rates, audit_log.
-- SQLSTATE RM001, with the reason: there is no such tenant, it has no currency or no such rate, the terms are none, or
-- it is the first rate and documents have billed days by it: without a rate, all of that would be given back.
CREATE OR REPLACE FUNCTION radmeter.set_tenant_rate(p_tenant text, p_from date, p_terms jsonb)
RETURNS TABLE (changed boolean, until_day date, closed_months bigint, first_closed date)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants%ROWTYPE;
    v_before jsonb;
BEGIN
    SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant) FOR UPDATE;
    IF v_tenant.currency IS NULL THEN
        RAISE EXCEPTION 'the tenant "%" has no currency yet: first "radmeter tenants set ''%'' --currency EUR"',
            v_tenant.name, v_tenant.name USING ERRCODE = 'RM001';
    ELSIF p_from NOT BETWEEN '2000-01-01' AND '2100-01-01' THEN
        RAISE EXCEPTION 'a rate begins between 2000-01-01 and 2100-01-01, not on %', p_from USING ERRCODE = 'RM001';
    ELSIF jsonb_typeof(p_terms) <> 'object' THEN
        RAISE EXCEPTION 'the terms of a rate are an object, such as {"price": "0.50"}' USING ERRCODE = 'RM001';
    END IF;
    SELECT terms INTO v_before FROM radmeter.tenant_rates WHERE tenant_id = v_tenant.id AND from_day = p_from;
    IF p_terms IS NULL AND v_before IS NULL THEN
        RAISE EXCEPTION 'the tenant "%" has no rate from % on: "radmeter tenants rates ''%''" lists them',
            v_tenant.name, p_from, v_tenant.name USING ERRCODE = 'RM001';
    END IF;
    changed := v_before IS DISTINCT FROM p_terms;
    IF p_terms IS NULL
            AND NOT EXISTS (SELECT FROM radmeter.tenant_rates WHERE tenant_id = v_tenant.id AND from_day < p_from) THEN
        SELECT min(invoice.period_start) INTO first_closed FROM public.invoices AS invoice
        WHERE invoice.tenant_id = v_tenant.id AND invoice.status <> 'void' AND invoice.period_end > p_from
          AND invoice.period_start < coalesce((SELECT min(from_day) FROM radmeter.tenant_rates
                                               WHERE tenant_id = v_tenant.id AND from_day > p_from), 'infinity');
        IF first_closed IS NOT NULL THEN
            RAISE EXCEPTION 'days of % are billed by the first rate of "%", so it cannot be removed: take the documents back first '
                '("radmeter billing discard", "radmeter billing void"), or set another rate from this day on',
                to_char(first_closed, 'YYYY-MM'), v_tenant.name USING ERRCODE = 'RM001';
        END IF;
    END IF;
    IF p_terms IS NULL THEN
        DELETE FROM radmeter.tenant_rates WHERE tenant_id = v_tenant.id AND from_day = p_from;
    ELSIF changed THEN
        INSERT INTO radmeter.tenant_rates (tenant_id, from_day, terms) VALUES (v_tenant.id, p_from, p_terms)
        ON CONFLICT (tenant_id, from_day) DO UPDATE SET terms = excluded.terms, changed_at = now();
    END IF;
    SELECT min(from_day) INTO until_day FROM radmeter.tenant_rates WHERE tenant_id = v_tenant.id AND from_day > p_from;
    SELECT count(DISTINCT period), min(period) INTO closed_months, first_closed FROM radmeter.billing_close
    WHERE tenant_id = v_tenant.id AND period + interval '1 month' > p_from
      AND (until_day IS NULL OR period < until_day);
    IF changed THEN
        PERFORM radmeter.audit('tenants rate', jsonb_build_object(
            'tenant', v_tenant.name, 'from', p_from, 'before', v_before, 'after', p_terms));
    END IF;
    RETURN NEXT;
END;
$$;
