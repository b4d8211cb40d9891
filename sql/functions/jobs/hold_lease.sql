-- radmeter.hold_lease(name, holder, seconds): keeps a lease until the end of the transaction, and renews it when a third of
-- its time is over. Each transaction of a work under a lease begins with it. So a process that was stopped, while another
-- took the lease, does nothing when it wakes up.
-- An expired lease that nobody has taken is renewed. SQLSTATE RM006 if the holder does not have the lease, or if another
-- session holds the advisory lock of the same name: `radmeter adopt --undo`, or a runner of an older release.
-- Writes radmeter.lease.
CREATE OR REPLACE FUNCTION radmeter.hold_lease(p_name text, p_holder uuid, p_seconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_renewed_at timestamptz;
BEGIN
    SELECT renewed_at INTO v_renewed_at FROM radmeter.lease WHERE name = p_name AND holder = p_holder
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another process has taken over the lease %', p_name USING ERRCODE = 'RM006';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('radmeter.' || p_name, 0)) THEN
        RAISE EXCEPTION 'another session holds the lock radmeter.%', p_name USING ERRCODE = 'RM006';
    END IF;
    -- It is later than now if the clock of the database was set back.
    IF v_renewed_at NOT BETWEEN clock_timestamp() - make_interval(secs => p_seconds / 3.0) AND clock_timestamp() THEN
        UPDATE radmeter.lease SET renewed_at = clock_timestamp(), process = pg_backend_pid(),
            expires_at = clock_timestamp() + make_interval(secs => p_seconds)
        WHERE name = p_name;
    END IF;
END;
$$;
