-- radmeter.drop_old_incoming(): drops this session's temporary tables for batches that are old, counted in transactions.
-- A table's relfrozenxid is as old as the table until somebody vacuums it, and ON COMMIT DELETE ROWS does not renew it.
-- Only its own session can vacuum a temporary table, and only in a command of its own. Until then the oldest relfrozenxid
-- is the database's datfrozenxid, from which PostgreSQL decides when autovacuum must prevent a wraparound, and when all
-- writing ends. The next batch makes the table again: radmeter.prepare_table.
-- Old: a tenth of autovacuum_freeze_max_age (default: 20 million transactions), or the same share of multixacts.
-- A table with records of the batch under way stays.
-- Called by radmeter.stage and radmeter.prepare_incoming for each batch, and by radmeter.open_segments, which a shipper
-- without packets calls every minute. Drops pg_temp.incoming, pg_temp.staged.
CREATE OR REPLACE FUNCTION radmeter.drop_old_incoming() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table regclass;
    v_filled boolean;
BEGIN
    FOR v_table IN
        SELECT oid FROM pg_class
        WHERE oid IN (to_regclass('pg_temp.incoming'), to_regclass('pg_temp.staged')) AND relkind = 'r'
          AND pg_get_userbyid(relowner) = current_user
          AND (age(relfrozenxid) > 0.1 * current_setting('autovacuum_freeze_max_age')::bigint
               OR mxid_age(relminmxid) > 0.1 * current_setting('autovacuum_multixact_freeze_max_age')::bigint) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', v_table) INTO v_filled;
        IF NOT v_filled THEN
            EXECUTE format('DROP TABLE %s', v_table);
        END IF;
    END LOOP;
END;
$$;
