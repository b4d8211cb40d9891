-- radmeter.guard_recipient(): trigger on radmeter.tenants and routers: before DELETE for each row, and before TRUNCATE. One
-- with documents stays. It comes before the foreign keys, whose message names no remedy.
-- SQLSTATE RM007: a document names it. Reads invoices, invoice_usage, radmeter.billing_close.
CREATE OR REPLACE FUNCTION radmeter.guard_recipient() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_what text := rtrim(TG_TABLE_NAME, 's');
    v_found boolean;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF EXISTS (SELECT FROM radmeter.billing_close) THEN
            RAISE EXCEPTION 'there are documents of %s: they cannot be deleted', v_what USING ERRCODE = 'RM007';
        END IF;
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'tenants' THEN
        v_found := EXISTS (SELECT FROM public.invoices AS invoice WHERE invoice.tenant_id = OLD.id)
                OR EXISTS (SELECT FROM radmeter.billing_close AS closed WHERE closed.tenant_id = OLD.id)
                OR EXISTS (SELECT FROM public.invoices AS invoice WHERE invoice.of_tenant_id = OLD.id);
    ELSE
        v_found := EXISTS (SELECT FROM public.invoice_usage AS usage WHERE usage.router_id = OLD.id);
    END IF;
    IF v_found THEN
        RAISE EXCEPTION '% "%" has documents: it cannot be deleted; "radmeter %s retire" takes it out of use', v_what,
            OLD.name, v_what USING ERRCODE = 'RM007';
    END IF;
    RETURN OLD;
END;
$$;
