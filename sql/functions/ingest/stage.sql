-- radmeter.stage(): makes sure that this session has the empty temporary table `staged` (radmeter.create_staged). In the
-- same transaction the caller then copies the records of a batch into it, and calls radmeter.ingest without records:
--   SELECT radmeter.stage(); COPY pg_temp.staged (..) FROM STDIN; SELECT radmeter.ingest(.., NULL, ..)
-- So the records are read by PostgreSQL before the lock of radmeter.ingest is taken, and faster than JSON.
-- SQLSTATE 55000: see radmeter.prepare_table. Writes pg_temp.staged.
CREATE OR REPLACE FUNCTION radmeter.stage() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM radmeter.drop_old_incoming();
    PERFORM radmeter.prepare_table('staged', false);
END;
$$;
