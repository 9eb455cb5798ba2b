-- public._check_order: refuses what no order can be.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX422
create or replace function public._check_order(
    p_symbol text, p_side text, p_volume numeric, p_sl numeric, p_tp numeric, p_client_order_id text,
    p_expires_in double precision, p_deviation integer
) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('symbol', '1 to 32 characters', coalesce(length(p_symbol) between 1 and 32, false)),
        ('side', 'buy or sell', coalesce(p_side in ('buy', 'sell'), false)),
        ('volume', 'above 0, below 100000000000',
            coalesce(round(p_volume, 8) > 0 and p_volume < 100000000000, false)),
        ('sl', 'above 0, below 100000000000', coalesce(p_sl > 0 and p_sl < 100000000000, true)),
        ('tp', 'above 0, below 100000000000', coalesce(p_tp > 0 and p_tp < 100000000000, true)),
        ('client_order_id', '1 to 255 characters', coalesce(length(p_client_order_id) between 1 and 255, true)),
        ('expires_in', 'seconds from 0 (never) to 86400', coalesce(p_expires_in between 0 and 86400, true)),
        ('deviation', 'points from 0 to 100000', coalesce(p_deviation between 0 and 100000, true))
    ) r (field, rule, holds)
    where not r.holds
    limit 1;
end;
$$;
