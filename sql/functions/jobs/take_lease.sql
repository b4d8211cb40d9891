-- radmeter.take_lease(name, holder, program, seconds): takes a lease if nobody has it, if it has expired, or if the holder
-- has it already. So is one that was renewed later than its time from now: the clock of the database was set back. Returns
-- whether the holder has it now. It never waits: while a transaction of the present holder is under
-- way, the lease's row is locked, and nobody else gets it, however late it is. Writes radmeter.lease.
CREATE OR REPLACE FUNCTION radmeter.take_lease(p_name text, p_holder uuid, p_program text, p_seconds integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO radmeter.lease (name, holder, program, process, taken_at, renewed_at, expires_at)
    VALUES (p_name, p_holder, p_program, pg_backend_pid(), v_now, v_now, v_now + make_interval(secs => p_seconds))
    ON CONFLICT (name) DO NOTHING;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM FROM radmeter.lease
    WHERE name = p_name AND (holder = p_holder OR expires_at <= v_now OR renewed_at > v_now + make_interval(secs => p_seconds))
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE radmeter.lease SET holder = p_holder, program = p_program, process = pg_backend_pid(),
        taken_at = CASE WHEN holder = p_holder THEN taken_at ELSE v_now END,
        renewed_at = v_now, expires_at = v_now + make_interval(secs => p_seconds)
    WHERE name = p_name;
    RETURN true;
END;
$$;
