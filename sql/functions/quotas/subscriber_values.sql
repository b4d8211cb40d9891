-- radmeter.subscriber_values(username): a user's plan, further plans, tenant and suspension, as the audit log keeps them.
-- Called by radmeter.add_subscriber, radmeter.assign_plan, radmeter.suspend_subscriber.
CREATE OR REPLACE FUNCTION radmeter.subscriber_values(p_username text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'username', subscriber.username, 'plan', plan.name,
        'also', (SELECT coalesce(jsonb_agg(other.name ORDER BY other.name), '[]')
                 FROM public.subscriber_plans AS further JOIN public.plans AS other ON other.id = further.plan_id
                 WHERE further.username = subscriber.username),
        'tenant', (SELECT tenant.name FROM radmeter.tenants AS tenant WHERE tenant.id = subscriber.tenant_id),
        'quota_start', subscriber.quota_start, 'suspended_at', subscriber.suspended_at)
    FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    WHERE subscriber.username = p_username;
$$;
