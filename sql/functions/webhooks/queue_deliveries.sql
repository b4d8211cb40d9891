-- radmeter.queue_deliveries(types, subjects, times, data): queues messages for each endpoint that wants their type.
--   subjects  the user names, of messages about a person; NULL: about none
--   data      what the message says besides its type and time
-- The caller's transaction decides whether the messages exist. A message has one webhook-id for all endpoints.
-- Returns how many deliveries were queued. Writes radmeter.webhook_delivery.
CREATE OR REPLACE FUNCTION radmeter.queue_deliveries(
    p_types text[], p_subjects text[], p_times timestamptz[], p_data jsonb[]) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH message AS MATERIALIZED (
        SELECT gen_random_uuid() AS id, type, subject, happened_at, data, number
        FROM unnest(p_types, p_subjects, p_times, p_data) WITH ORDINALITY
            AS message (type, subject, happened_at, data, number)
    ), endpoint AS MATERIALIZED (
        -- One that is being retired (radmeter.change_webhook) gets nothing that would wait for ever.
        SELECT id, events FROM radmeter.webhook WHERE retired_at IS NULL AND switched_off_at IS NULL
        ORDER BY id FOR KEY SHARE
    ), queued AS (
        INSERT INTO radmeter.webhook_delivery (webhook_id, message_id, type, subject, data, happened_at)
        SELECT endpoint.id, message.id, message.type, message.subject, message.data, message.happened_at
        FROM message JOIN endpoint ON message.type = ANY (endpoint.events)
        ORDER BY message.number, endpoint.id
        RETURNING 1
    )
    SELECT count(*) FROM queued;
$$;
