-- radmeter.freeze_usage(period, tenants, settings): closes a month for tenants: one statement takes what their documents
-- bill, so that one snapshot decides what counts in all of them.
--   period    the first day of the month
--   tenants   tenants.id; each has a currency
--   settings  what the month is closed with, kept in radmeter.billing_close
-- Each tenant gets a draft, still without amounts, and in radmeter.invoice_usage the octets by router and day: what the
-- router has counted on a day on which it was the tenant's and the tenant had a rate, less what earlier documents have
-- billed, also less than 0. Days of this month count, and days of earlier months that are closed: for the tenant, or for
-- all (those have a row without a tenant). Documents that are void have billed nothing.
-- The caller holds the lock radmeter.billing. Returns tenants.id and invoices.id of each draft.
-- Writes radmeter.billing_close, invoices, invoice_usage.
CREATE OR REPLACE FUNCTION radmeter.freeze_usage(p_period date, p_tenants bigint[], p_settings jsonb)
RETURNS TABLE (tenant_id bigint, invoice_id bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH month AS (
        SELECT p_period AS from_day, (p_period + interval '1 month')::date AS until_day
    ), closed AS (
        INSERT INTO radmeter.billing_close (period, tenant_id, settings)
        SELECT p_period, id, p_settings FROM unnest(p_tenants) AS id ORDER BY id
        RETURNING id, tenant_id
    ), draft AS (
        INSERT INTO public.invoices (tenant_id, close_id, status, period_start, period_end, currency, digits, issuer_id,
                                     usage_bytes, net, tax, amount, taxes, issued_at)
        SELECT tenant.id, closed.id, 'draft', month.from_day, month.until_day, tenant.currency, tenant.digits,
               tenant.issuer_id, 0, 0, 0, 0, '[]', NULL
        FROM closed JOIN radmeter.tenants AS tenant ON tenant.id = closed.tenant_id CROSS JOIN month
        ORDER BY tenant.name
        RETURNING id, tenant_id
    ), closed_month AS (
        -- Of earlier months. This one is not in the snapshot.
        SELECT DISTINCT wanted.id AS tenant_id, before.period
        FROM unnest(p_tenants) AS wanted (id)
        JOIN radmeter.billing_close AS before ON before.tenant_id = wanted.id OR before.tenant_id IS NULL
        WHERE before.period < p_period
        UNION
        SELECT id, p_period FROM unnest(p_tenants) AS id
    ), owner AS (
        SELECT every.router_id, every.tenant_id, every.from_day,
               lead(every.from_day) OVER (PARTITION BY every.router_id ORDER BY every.from_day) AS until_day
        FROM radmeter.router_tenant AS every
    ), owned AS (
        SELECT owner.router_id, owner.tenant_id, closed_month.period,
               greatest(owner.from_day, first_rate.from_day, closed_month.period) AS from_day,
               least(owner.until_day, (closed_month.period + interval '1 month')::date) AS until_day
        FROM owner
        JOIN (SELECT rate.tenant_id, min(rate.from_day) AS from_day FROM radmeter.tenant_rates AS rate
              GROUP BY rate.tenant_id) AS first_rate USING (tenant_id)
        JOIN closed_month USING (tenant_id)
    ), part AS (
        SELECT owned.tenant_id, usage.router_id, usage.usage_date, usage.bytes_in, usage.bytes_out
        FROM owned JOIN public.router_daily_usage AS usage USING (router_id)
        WHERE usage.usage_date >= owned.from_day AND usage.usage_date < owned.until_day
        UNION ALL
        SELECT invoice.tenant_id, billed.router_id, billed.usage_date, -billed.bytes_in, -billed.bytes_out
        FROM public.invoices AS invoice JOIN public.invoice_usage AS billed ON billed.invoice_id = invoice.id
        WHERE invoice.tenant_id = ANY (p_tenants) AND invoice.status <> 'void'
          AND billed.usage_date < (SELECT month.until_day FROM month)
    ), difference AS (
        SELECT part.tenant_id, part.router_id, part.usage_date,
               sum(part.bytes_in)::bigint AS bytes_in, sum(part.bytes_out)::bigint AS bytes_out
        FROM part GROUP BY part.tenant_id, part.router_id, part.usage_date
    ), frozen AS (
        INSERT INTO public.invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
        SELECT draft.id, difference.router_id, difference.usage_date, difference.bytes_in, difference.bytes_out
        FROM difference JOIN draft USING (tenant_id)
        WHERE difference.bytes_in <> 0 OR difference.bytes_out <> 0
        ORDER BY draft.id, difference.router_id, difference.usage_date
    )
    SELECT draft.tenant_id, draft.id FROM draft ORDER BY draft.id;
$$;
