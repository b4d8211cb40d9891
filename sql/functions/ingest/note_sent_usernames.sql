-- radmeter.note_sent_usernames(seqs): notes the names as their router sends them, of open sessions that were just inserted
-- under a name with a realm. Called by radmeter.apply_round only, if a tenant has a realm. Writes radmeter.sent_username.
CREATE OR REPLACE FUNCTION radmeter.note_sent_usernames(p_seqs bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record: the temporary table has no statistics.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
    INSERT INTO radmeter.sent_username (radacctid, username)
    SELECT session.radacctid, record.sent_username
    FROM pg_temp.incoming AS record
    JOIN public.radacct AS session
        ON session.acctuniqueid = record.uid AND session.acctstoptime IS NULL AND session.username = record.username
    WHERE record.seq = ANY (p_seqs) AND record.sent_username IS NOT NULL
    ON CONFLICT (radacctid) DO NOTHING;
$$;
