-- get_user_total_usage(username [, at]): octets in both directions in the user's quota period, now or at an instant.
-- Returns bigint, 0 for a user without usage. One index lookup: interims are in the counter already, so open sessions
-- are included and radacct is never read.
CREATE OR REPLACE FUNCTION public.get_user_total_usage(p_username text, p_at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((
        SELECT least(usage.bytes_in::numeric + usage.bytes_out, 9223372036854775807)::bigint
        FROM public.user_quota_usage AS usage
        WHERE usage.username = p_username
          AND usage.period_start = (SELECT radmeter.user_period_start(p_username, p_at))), 0);
$$;
