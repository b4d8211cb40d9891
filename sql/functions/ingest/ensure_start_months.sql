-- radmeter.ensure_start_months(seqs): makes the months in which Stops of the batch end sessions that began after them. Such
-- a Stop ends its session where that began. The month of a Stop's own event is made before the rounds.
-- Called by radmeter.apply_round only. Reads pg_temp.incoming, radacct. Makes partitions of radacct.
CREATE OR REPLACE FUNCTION radmeter.ensure_start_months(p_seqs bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
BEGIN
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', radmeter.last_possible_time(
                  session.acctstarttime, record.event_time), 'UTC') AS month
              FROM pg_temp.incoming AS record
              CROSS JOIN LATERAL (SELECT acctstarttime FROM public.radacct
                                  WHERE radacctid = record.open_id AND acctstoptime IS NULL OFFSET 0) AS session
              WHERE record.seq = ANY (p_seqs) AND record.status = 'Stop') AS stops;
END;
$$;
