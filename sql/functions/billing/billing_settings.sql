-- radmeter.billing_settings(): the settings of billing, in the order of their names: the value in force, the default, and
-- the meaning. radmeter.set_billing_setting changes a value. Reads radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.billing_settings()
RETURNS TABLE (name text, value text, default_value text, meaning text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT known.name, coalesce(setting.value, known.default_value), known.default_value, known.meaning
    FROM (VALUES
        ('currency', NULL, 'of users who belong to no tenant (ISO 4217): without it they are not billed'),
        ('rounding', 'half-up', 'how a line is rounded to the currency: half-up or half-even'),
        ('settling_hours', '24', 'hours from the end of a month until it can be closed'),
        ('tax', 'sum', 'sum: the tax of a rate is that of the sum of its lines; line: the tax of each line is rounded'),
        ('users_tax_rate', '0', 'percent of tax on what users pay for plans and top-ups'),
        ('users_tax_rule', NULL, 'why it is this rate, as it stands on documents'),
        ('zero', 'skip', 'what becomes of documents about nothing: skip or draft')
    ) AS known (name, default_value, meaning)
    LEFT JOIN radmeter.setting ON setting.name = 'billing_' || known.name
    ORDER BY known.name;
$$;
