-- public._check_connection: refuses values that a broker account cannot have.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX422
create or replace function public._check_connection(p_changes jsonb) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('name', '1 to 100 characters', length(p_changes ->> 'name') between 1 and 100),
        ('broker', 'at most 100 characters', length(p_changes ->> 'broker') <= 100),
        ('server', 'at most 100 characters', length(p_changes ->> 'server') <= 100),
        ('login', 'at most 100 characters', length(p_changes ->> 'login') <= 100),
        ('status', 'at most 100 characters', length(p_changes ->> 'status') <= 100),
        ('account_currency', 'three capital letters', p_changes ->> 'account_currency' ~ '^[A-Z]{3}$'),
        ('account_mode', 'demo, real or contest', p_changes ->> 'account_mode' in ('demo', 'real', 'contest')),
        ('margin_mode', 'hedging or netting', p_changes ->> 'margin_mode' in ('hedging', 'netting')),
        ('is_default', 'true: make another one the default instead', (p_changes ->> 'is_default')::boolean),
        ('symbol_map', 'at most 16 KiB', length(p_changes ->> 'symbol_map') <= 16384),
        ('symbol_suffix', 'at most 20 characters', length(p_changes ->> 'symbol_suffix') <= 20)
    ) r (field, rule, holds)
    where r.holds is false
    limit 1;
end;
$$;
