-- public._broker_error: what the agent's word for a failed order says about its broker.
-- Returns: hard (trying again cannot help), soft (it may), or null: the order's own fault, or nothing was tried.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: The words are those of docs/agent.md. One that nobody knows is soft, none at all is null.
create or replace function public._broker_error(p_code text) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when p_code is not null then nullif(coalesce((
        select k.kind
        from (values
            ('trade_disabled',      'hard'),    -- by the broker, or AutoTrading is off
            ('market_closed',       'hard'),
            ('no_money',            'hard'),
            ('requote',             'soft'),    -- also a price that changed, and no price at all
            ('rejected',            'soft'),
            ('timeout',             'soft'),
            ('disconnected',        'soft'),
            ('invalid_input',       'none'),
            ('invalid_stops',       'none'),
            ('volume_out_of_range', 'none'),
            ('unknown_symbol',      'none'),
            ('unsupported_filling', 'none'),
            ('position_not_found',  'none'),
            ('not_sent',            'none'),
            ('expired',             'none'),
            ('cancelled',           'none'),
            ('trading_halted',      'none'),
            ('trading_reducing',    'none'),
            ('kill_file',           'none')
        ) k (code, kind)
        where k.code = p_code), 'soft'), 'none') end
$$;
