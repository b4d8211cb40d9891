-- radmeter.observe_intervals(): writes how often each router sends interims into routers.interim_interval.
-- It is the median over the router's open sessions, since retransmissions make a few intervals too short. A value is
-- written only if it differs by more than a tenth. Called by the periodic jobs, never on the packet path. Returns how
-- many routers changed.
CREATE OR REPLACE FUNCTION radmeter.observe_intervals() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_changed integer;
BEGIN
    WITH observed AS MATERIALIZED (
        SELECT router_id, percentile_disc(0.5) WITHIN GROUP (ORDER BY acctinterval) AS seconds
        FROM public.radacct
        WHERE acctstoptime IS NULL AND acctinterval BETWEEN 1 AND 86400
        GROUP BY router_id
    )
    UPDATE public.routers AS router SET interim_interval = observed.seconds, updated_at = now()
    FROM observed
    WHERE router.id = observed.router_id
      AND (router.interim_interval IS NULL
           OR abs(router.interim_interval - observed.seconds) * 10 > router.interim_interval);
    GET DIAGNOSTICS v_changed = ROW_COUNT;
    RETURN v_changed;
END;
$$;
