-- radmeter.freeze_usage(period, tenants, settings): closes a month for tenants: one statement takes what their documents
-- bill, so that one snapshot decides what counts in all of them.
--   period    the first day of the month
--   tenants   tenants.id; each has a currency
--   settings  what the month is closed with, kept in radmeter.billing_close
-- Each tenant gets a draft, still without amounts, and in invoice_usage the octets by router and day: what the router has
-- counted on a day on which it was the tenant's and the tenant had a rate, less what earlier documents have billed, also
-- less than 0. Days of this month count, and days of earlier months that are closed: for the tenant, or for all (those have
-- a row without a tenant). Documents that are void have billed nothing.
-- Earlier months are compared by a fingerprint of each router's month first, and by days only where that differs: most
-- months are as they were billed. Days that no document can have billed yet are not compared.
-- A month is closed anew if all that it has brought the tenant is void.
-- The caller holds the lock radmeter.billing. Returns tenants.id and invoices.id of each draft.
-- Writes radmeter.billing_close, invoices, invoice_usage.
-- SQLSTATE RM001: it is closed already for one of them, or has not ended and settled.
CREATE OR REPLACE FUNCTION radmeter.freeze_usage(p_period date, p_tenants bigint[], p_settings jsonb)
RETURNS TABLE (tenant_id bigint, invoice_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- 1.5 million router-days are aggregated and sorted in memory.
SET work_mem = '256MB'
AS $$
#variable_conflict use_column
DECLARE
    v_next date := (p_period + interval '1 month')::date;
    -- Only a document of this month or a later one can have billed days of this month.
    v_compared date := CASE WHEN EXISTS (
        SELECT FROM public.invoices AS later
        WHERE later.tenant_id = ANY (p_tenants) AND later.period_start >= p_period AND later.status <> 'void')
        THEN v_next ELSE p_period END;
BEGIN
    PERFORM radmeter.refuse_unended(p_period, p_tenants);
    IF EXISTS (SELECT FROM radmeter.billing_close AS former
               WHERE former.period = p_period AND former.tenant_id = ANY (p_tenants)
                 AND (SELECT count(*) FILTER (WHERE invoice.status = 'void') = 0
                             OR count(*) FILTER (WHERE invoice.status <> 'void') > 0
                      FROM public.invoices AS invoice WHERE invoice.close_id = former.id)) THEN
        RAISE EXCEPTION '% is closed already for one of the tenants: "radmeter billing discard" opens it while its documents are '
            'drafts, and "void" takes an issued one back', to_char(p_period, 'YYYY-MM') USING ERRCODE = 'RM001';
    END IF;
    RETURN QUERY
    WITH closed AS (
        INSERT INTO radmeter.billing_close (period, tenant_id, run, settings)
        SELECT p_period, wanted.id, coalesce(max(former.run), 0) + 1, p_settings
        FROM unnest(p_tenants) AS wanted (id)
        LEFT JOIN radmeter.billing_close AS former ON former.tenant_id = wanted.id AND former.period = p_period
        GROUP BY wanted.id ORDER BY wanted.id
        RETURNING id, tenant_id
    ), draft AS (
        INSERT INTO public.invoices (tenant_id, close_id, status, period_start, period_end, currency, digits, issuer_id,
                                     usage_bytes, net, tax, amount, taxes, issued_at)
        SELECT tenant.id, closed.id, 'draft', p_period, v_next, tenant.currency, tenant.digits, tenant.issuer_id,
               0, 0, 0, 0, '[]', NULL
        FROM closed JOIN radmeter.tenants AS tenant ON tenant.id = closed.tenant_id
        ORDER BY tenant.name
        RETURNING id, tenant_id
    ), closed_month AS MATERIALIZED (
        SELECT DISTINCT wanted.id AS tenant_id, before.period AS month
        FROM unnest(p_tenants) AS wanted (id)
        JOIN radmeter.billing_close AS before ON before.tenant_id = wanted.id OR before.tenant_id IS NULL
        WHERE before.period < p_period
        UNION ALL
        -- The row of this month is not in the snapshot.
        SELECT id, p_period FROM unnest(p_tenants) AS id
    ), owner AS (
        SELECT every.router_id, every.tenant_id, every.from_day,
               lead(every.from_day) OVER (PARTITION BY every.router_id ORDER BY every.from_day) AS until_day
        FROM radmeter.router_tenant AS every
    ), owned AS MATERIALIZED (
        SELECT owner.router_id, owner.tenant_id, greatest(owner.from_day, first_rate.from_day) AS from_day,
               least(owner.until_day, v_next) AS until_day
        FROM owner
        JOIN (SELECT rate.tenant_id, min(rate.from_day) AS from_day FROM radmeter.tenant_rates AS rate
              WHERE rate.tenant_id = ANY (p_tenants) GROUP BY rate.tenant_id) AS first_rate USING (tenant_id)
    ), print AS (
        SELECT owned.tenant_id, usage.router_id, date_trunc('month', usage.usage_date::timestamp)::date AS month,
               hashint8extended(usage.bytes_in, usage.usage_date - '2000-01-01'::date)
               # hashint8extended(usage.bytes_out, '2000-01-01'::date - usage.usage_date) AS print,
               usage.bytes_in, usage.bytes_out
        FROM owned JOIN public.router_daily_usage AS usage ON usage.router_id = owned.router_id
             AND usage.usage_date >= owned.from_day AND usage.usage_date < owned.until_day
        WHERE usage.usage_date < v_compared AND (usage.bytes_in <> 0 OR usage.bytes_out <> 0)
        UNION ALL
        SELECT invoice.tenant_id, billed.router_id, date_trunc('month', billed.usage_date::timestamp)::date,
               hashint8extended(billed.bytes_in, billed.usage_date - '2000-01-01'::date)
               # hashint8extended(billed.bytes_out, '2000-01-01'::date - billed.usage_date),
               -billed.bytes_in, -billed.bytes_out
        FROM public.invoices AS invoice JOIN public.invoice_usage AS billed ON billed.invoice_id = invoice.id
        WHERE invoice.tenant_id = ANY (p_tenants) AND invoice.status <> 'void' AND billed.usage_date < v_compared
    ), differing AS MATERIALIZED (
        -- The sums, too: two documents that bill the same of a day, which is 0 now, cancel each other. And the hash folds
        -- 64 bits into 32, so 0 and 4294967297 octets have the same.
        SELECT every.tenant_id, every.router_id, every.month
        FROM (SELECT print.tenant_id, print.router_id, print.month FROM print
              GROUP BY print.tenant_id, print.router_id, print.month
              HAVING bit_xor(print.print) <> 0 OR sum(print.bytes_in) <> 0 OR sum(print.bytes_out) <> 0) AS every
        JOIN closed_month USING (tenant_id, month)
    ), part AS (
        SELECT differing.tenant_id, usage.router_id, usage.usage_date, usage.bytes_in, usage.bytes_out
        FROM differing JOIN owned USING (tenant_id, router_id)
        JOIN public.router_daily_usage AS usage ON usage.router_id = differing.router_id
             AND usage.usage_date >= greatest(owned.from_day, differing.month)
             AND usage.usage_date < least(owned.until_day, (differing.month + interval '1 month')::date)
        UNION ALL
        SELECT invoice.tenant_id, billed.router_id, billed.usage_date, -billed.bytes_in, -billed.bytes_out
        FROM public.invoices AS invoice JOIN public.invoice_usage AS billed ON billed.invoice_id = invoice.id
        JOIN differing ON differing.tenant_id = invoice.tenant_id AND differing.router_id = billed.router_id
             AND billed.usage_date >= differing.month AND billed.usage_date < (differing.month + interval '1 month')::date
        WHERE invoice.tenant_id = ANY (p_tenants) AND invoice.status <> 'void'
    ), difference AS (
        SELECT part.tenant_id, part.router_id, part.usage_date,
               sum(part.bytes_in)::bigint AS bytes_in, sum(part.bytes_out)::bigint AS bytes_out
        FROM part GROUP BY part.tenant_id, part.router_id, part.usage_date
        UNION ALL
        SELECT owned.tenant_id, usage.router_id, usage.usage_date, usage.bytes_in, usage.bytes_out
        FROM owned JOIN public.router_daily_usage AS usage ON usage.router_id = owned.router_id
             AND usage.usage_date >= owned.from_day AND usage.usage_date < owned.until_day
        WHERE usage.usage_date >= v_compared AND usage.usage_date < v_next
    ), frozen AS (
        INSERT INTO public.invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
        SELECT draft.id, difference.router_id, difference.usage_date, difference.bytes_in, difference.bytes_out
        FROM difference JOIN draft USING (tenant_id)
        WHERE difference.bytes_in <> 0 OR difference.bytes_out <> 0
        ORDER BY draft.id, difference.router_id, difference.usage_date
    )
    SELECT draft.tenant_id, draft.id FROM draft ORDER BY draft.id;
END;
$$;
