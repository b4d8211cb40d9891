-- radmeter.check_plan(plan): refuses a plan whose values do not go together.
-- Called by radmeter.add_plan, radmeter.change_plan.
-- SQLSTATE RM001, with the reason.
CREATE OR REPLACE FUNCTION radmeter.check_plan(p_plan public.plans) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_plan.name !~ '[^[:space:]]' OR length(p_plan.name) > 200 THEN
        RAISE EXCEPTION 'the name of a plan has 1 to 200 characters' USING ERRCODE = 'RM001';
    ELSIF p_plan.quota_type = 'weekly' AND p_plan.anchor_day > 7 THEN
        RAISE EXCEPTION 'a week begins on day 1 (Monday) to 7 (Sunday), not on %: give another --anchor',
            p_plan.anchor_day USING ERRCODE = 'RM001';
    ELSIF p_plan.quota_type IN ('daily', 'one-time') AND p_plan.anchor_day <> 1 THEN
        RAISE EXCEPTION 'a % period has no day to begin on: leave --anchor out', p_plan.quota_type
            USING ERRCODE = 'RM001';
    ELSIF p_plan.price < 0 OR p_plan.price >= 1000000000000 OR scale(p_plan.price) > 4 THEN
        RAISE EXCEPTION '% is not a price with at most four decimals, such as 19.90', p_plan.price USING ERRCODE = 'RM001';
    ELSIF p_plan.valid_seconds > 3155760000 THEN
        RAISE EXCEPTION 'a validity is at most 100 years (36525d): give --valid off if it does not end'
            USING ERRCODE = 'RM001';
    ELSIF p_plan.quota_seconds > 3155760000 THEN
        RAISE EXCEPTION 'a quota of time is at most 100 years (36525d): give --time unlimited if there is none'
            USING ERRCODE = 'RM001';
    ELSIF p_plan.rollover_bytes IS NOT NULL AND p_plan.quota_bytes IS NULL THEN
        RAISE EXCEPTION 'nothing can roll over without a quota in both directions: give --quota, or --rollover off'
            USING ERRCODE = 'RM001';
    ELSIF p_plan.rollover_bytes IS NOT NULL AND p_plan.quota_type = 'one-time' THEN
        RAISE EXCEPTION 'a one-time period does not end, so nothing rolls over: give --rollover off'
            USING ERRCODE = 'RM001';
    END IF;
END;
$$;
