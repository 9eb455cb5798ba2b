-- public._check_settings: refuses values that a setting cannot have.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _changes, _refuse
-- Raises: FX422
create or replace function public._check_settings(p_changes jsonb) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._changes(p_changes, '{
        "display_name": ["string", "null"], "timezone": ["string"], "trading_state": ["string"],
        "daily_loss_limit_pct": ["number", "null"], "risk_per_trade_pct": ["number", "null"],
        "max_volume": ["number", "null"], "default_volume": ["number", "null"],
        "max_open_positions": ["number", "null"], "max_orders_per_minute": ["number", "null"]}');
    perform public._refuse('FX422', 'invalid', c.key, c.rule)
    from (
        select e.key, r.rule, case r.kind
            when 'percent' then round((e.value #>> '{}')::numeric, 2) between 0.01 and 100
            when 'volume' then round((e.value #>> '{}')::numeric, 8) between 0.00000001 and 99999999999
            when 'count' then (e.value #>> '{}')::numeric between 1 and 1000000 and (e.value #>> '{}') !~ '[.eE]'
            when 'text' then length(e.value #>> '{}') <= 100
            when 'state' then e.value #>> '{}' in ('active', 'reducing', 'halted')
            else exists (select from pg_timezone_names z where z.name = e.value #>> '{}') end as holds
        from jsonb_each(p_changes) e
        join (values
            ('display_name', 'text', 'at most 100 characters'),
            ('timezone', 'zone', 'the name of a time zone, as Europe/Berlin'),
            ('trading_state', 'state', 'active, reducing or halted'),
            ('daily_loss_limit_pct', 'percent', 'from 0.01 to 100'),
            ('risk_per_trade_pct', 'percent', 'from 0.01 to 100'),
            ('max_volume', 'volume', 'above 0'),
            ('default_volume', 'volume', 'above 0'),
            ('max_open_positions', 'count', 'a whole number from 1 to 1000000'),
            ('max_orders_per_minute', 'count', 'a whole number from 1 to 1000000')
        ) r (key, kind, rule) on r.key = e.key
        where e.value <> 'null'
    ) c
    where not c.holds
    order by c.key
    limit 1;
end;
$$;
