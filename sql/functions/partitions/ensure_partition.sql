-- radmeter.ensure_partition(at): makes the partition of radacct for sessions that stop in the month of a given time,
-- unless a partition of any name and length covers that time.
-- A time at which no session can have stopped is refused (radmeter.is_possible_time), with SQLSTATE 22008: one wrong time
-- must not make a partition that stays for ever, and a record that has it is set aside.
-- Returns true if it made one. Months are UTC. If a neighbour partition covers a part of the month, the new one covers
-- the rest. Writes the schema public.
-- The partition is made as a table and then attached, because ATTACH does not block radacct's readers and writers. It
-- blocks only those of radacct_open, the default partition; its CHECK makes a scan of the open sessions unnecessary
-- (PostgreSQL manual, ALTER TABLE). It waits at most 100 ms for that, or less if lock_timeout is less, since everybody who
-- comes to radacct_open meanwhile waits behind it. SQLSTATE 55P03 if somebody, such as pg_dump, has a lock for longer.
-- CHECKs and generated columns that somebody added to radacct are made, too: ATTACH wants them.
CREATE OR REPLACE FUNCTION radmeter.ensure_partition(p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
    v_from timestamptz := date_trunc('month', p_at);
    v_to timestamptz := date_trunc('month', p_at) + interval '1 month';
    v_month text := 'radacct_' || to_char(p_at, 'YYYY_MM');
    v_name text := v_month;
    v_number integer := 1;
    v_lock_timeout text := current_setting('lock_timeout');
    v_bounds text := format('FOR VALUES FROM (%L) TO (%L)', v_from, v_to);
BEGIN
    -- With this lock, a partition that is found here stays until the caller has written to it: a DETACH (radmeter
    -- partitions archive) waits for the lock.
    LOCK TABLE ONLY public.radacct IN ACCESS SHARE MODE;
    -- Nearly always the partition exists under its usual name. This check is a mere lookup.
    IF EXISTS (SELECT FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
               WHERE relname = v_month AND relnamespace = 'public'::regnamespace
                 AND inhparent = 'public.radacct'::regclass
                 AND pg_get_expr(relpartbound, pg_class.oid) = v_bounds)
            OR EXISTS (SELECT FROM radmeter.radacct_partitions() WHERE from_at <= p_at AND p_at < to_at) THEN
        RETURN false;
    END IF;
    IF radmeter.is_possible_time(p_at) IS NOT TRUE THEN
        RAISE EXCEPTION 'no partition is made for %: a session cannot have stopped then', p_at
            USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM set_config('lock_timeout', CASE WHEN setting::bigint BETWEEN 1 AND 100 THEN setting ELSE '100' END, true)
        FROM pg_settings WHERE name = 'lock_timeout';
    -- If two sessions miss the same month, the second one waits here, and then finds the partition.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ensure_partition', 0));
    IF EXISTS (SELECT FROM radmeter.radacct_partitions() WHERE from_at <= p_at AND p_at < to_at) THEN
        PERFORM set_config('lock_timeout', v_lock_timeout, true);
        RETURN false;
    END IF;
    SELECT greatest(v_from, max(to_at) FILTER (WHERE to_at <= p_at)),
           least(v_to, min(from_at) FILTER (WHERE from_at > p_at))
    INTO v_from, v_to FROM radmeter.radacct_partitions();
    -- Something else may have the name: an operator's own archive, a partition for a part of the month, a type, or
    -- what another transaction has made and not committed. Whatever it is, the partition gets the next name. After a few,
    -- that is one that nobody can guess.
    LOOP
        BEGIN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.radacct INCLUDING DEFAULTS INCLUDING COMMENTS '
                           'INCLUDING CONSTRAINTS INCLUDING GENERATED)', v_name);
            EXECUTE format('CREATE UNIQUE INDEX ON public.%I (radacctid)', v_name);
            EXECUTE format('CREATE INDEX ON public.%I (acctuniqueid)', v_name);
            EXECUTE format('CREATE INDEX ON public.%I (username, acctstarttime)', v_name);
            EXECUTE format('CREATE INDEX ON public.%I (router_id, acctstarttime)', v_name);
            PERFORM radmeter.set_replica_identity(format('public.%I', v_name)::regclass);
            EXIT;
        EXCEPTION WHEN duplicate_table OR duplicate_object OR unique_violation OR lock_not_available THEN
            IF v_number > 9 THEN
                RAISE;
            END IF;
            v_number := v_number + 1;
            v_name := v_month || '_' || CASE WHEN v_number < 6 THEN v_number::text
                                             ELSE left(replace(gen_random_uuid()::text, '-', ''), 12) END;
        END;
    END LOOP;
    EXECUTE format('ALTER TABLE public.radacct ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        v_name, v_from, v_to);
    PERFORM set_config('lock_timeout', v_lock_timeout, true);
    IF v_to = v_from + interval '1 month' THEN
        PERFORM radmeter.note_session_month(v_from);
    END IF;
    RETURN true;
END;
$$;
