-- radmeter.lock_chain(): takes the lock on the head of audit_log's chain until the transaction ends.
-- Lines are chained at the commit, so it is held for a moment only. But SET CONSTRAINTS ALL IMMEDIATE chains them at once,
-- and a transaction that goes on then would keep every other change waiting. So it ends after 5 seconds in which it is
-- idle, and who waits gives up after 30 seconds and names the process.
-- Called by radmeter.chain_inserted and radmeter.chain_lines. Locks radmeter.audit_head.
-- SQLSTATE 55P03: somebody else holds the lock.
CREATE OR REPLACE FUNCTION radmeter.lock_chain() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s'
AS $$
DECLARE
    v_pid integer;
BEGIN
    PERFORM FROM radmeter.audit_head FOR UPDATE;
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
EXCEPTION
    WHEN lock_not_available THEN
        -- Who has the row has written it. Others who wait have not yet.
        SELECT held.pid INTO v_pid FROM pg_locks AS held
        WHERE held.relation = 'radmeter.audit_head'::regclass AND held.mode = 'RowExclusiveLock' AND held.granted
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND held.pid <> pg_backend_pid() LIMIT 1;
        RAISE EXCEPTION 'the chain of audit_log is held by %, which has changed something and did not commit for 30 seconds: %',
            coalesce('the server process ' || v_pid, 'another transaction'),
            coalesce(format('SELECT pg_terminate_backend(%s) ends it', v_pid), 'pg_stat_activity shows who it is')
            USING ERRCODE = '55P03';
END;
$$;
