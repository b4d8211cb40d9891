-- radmeter.ensure_partition(at): makes the partition of radacct for sessions that stop in the month of an instant.
-- Returns true if it was made. Months are UTC. Writes the schema public.
-- Attached rather than created in place: ATTACH locks radacct against other schema changes only, not against readers
-- and writers, and the CHECK of radacct_open spares the scan of the open sessions (PostgreSQL manual, ALTER TABLE).
CREATE OR REPLACE FUNCTION radmeter.ensure_partition(p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC'
AS $$
DECLARE
    v_from timestamptz := date_trunc('month', p_at);
    v_to timestamptz := date_trunc('month', p_at) + interval '1 month';
    v_name text := 'radacct_' || to_char(p_at, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || quote_ident(v_name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Two sessions that miss the same month: the second waits here and finds it made. By a query, since to_regclass
    -- answers from the catalog cache, which waiting for an advisory lock does not bring up to date.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ensure_partition', 0));
    IF EXISTS (SELECT FROM pg_class WHERE relname = v_name AND relnamespace = 'public'::regnamespace) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.radacct INCLUDING DEFAULTS INCLUDING COMMENTS)', v_name);
    EXECUTE format('CREATE UNIQUE INDEX ON public.%I (radacctid)', v_name);
    EXECUTE format('CREATE INDEX ON public.%I (acctuniqueid)', v_name);
    EXECUTE format('CREATE INDEX ON public.%I (username, acctstarttime)', v_name);
    EXECUTE format('CREATE INDEX ON public.%I (router_id, acctstarttime)', v_name);
    EXECUTE format('ALTER TABLE public.radacct ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        v_name, v_from, v_to);
    PERFORM radmeter.note_session_month(v_from);
    RETURN true;
END;
$$;
