-- radmeter.set_replica_identity(table): lets logical replication find the rows of a partition of radacct.
-- Partitions have no primary key. Without a replica identity PostgreSQL refuses every UPDATE and DELETE of a table that
-- is published (PostgreSQL manual, "Publication"), also by CREATE PUBLICATION .. FOR ALL TABLES. That would stop ingest.
-- The identity is the unique index by radacctid. Without such an index it is the whole row (FULL).
-- Changes nothing if the table has a primary key or an identity. Takes ACCESS EXCLUSIVE on the table for a moment.
-- Called with every table that is to become a partition. Writes the catalog.
CREATE OR REPLACE FUNCTION radmeter.set_replica_identity(p_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_index name;
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = p_table AND relreplident = 'f')
            OR EXISTS (SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
                       WHERE indrelid = p_table
                         AND (relreplident = 'd' AND indisprimary OR relreplident = 'i' AND indisreplident)) THEN
        RETURN;
    END IF;
    SELECT relname INTO v_index
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = p_table AND indisunique AND indisvalid AND indimmediate AND indpred IS NULL
      AND indnatts = 1 AND attname = 'radacctid' AND attnotnull
    LIMIT 1;
    IF v_index IS NULL THEN
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', p_table);
    ELSE
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', p_table, v_index);
    END IF;
END;
$$;
