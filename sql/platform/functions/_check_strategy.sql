-- public._check_strategy: refuses values that a strategy of the user cannot have.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _changes, _refuse, _uuid
-- Raises: FX404, FX422
create or replace function public._check_strategy(p_user_id uuid, p_changes jsonb) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._changes(p_changes, '{
        "name": ["string"], "broker_connection_id": ["string", "null"], "risk_override_pct": ["number", "null"],
        "allowed_pairs": ["array", "null"], "is_enabled": ["boolean"], "default_volume": ["number", "null"],
        "expires_in": ["number"], "dedup_enabled": ["boolean"], "dedup_seconds": ["number"],
        "allowed_sources": ["array", "null"]}');
    perform public._refuse('FX422', 'invalid', c.key, c.rule)
    from (
        select e.key, r.rule, case r.kind
            when 'name' then length(e.value #>> '{}') between 1 and 100
            when 'percent' then round((e.value #>> '{}')::numeric, 2) between 0.01 and 100
            when 'volume' then round((e.value #>> '{}')::numeric, 8) between 0.00000001 and 99999999999
            when 'age' then (e.value #>> '{}')::numeric between 0 and 31536000 and (e.value #>> '{}') !~ '[.eE]'
            when 'window' then (e.value #>> '{}')::numeric between 1 and 86400 and (e.value #>> '{}') !~ '[.eE]'
            else jsonb_array_length(e.value) <= 200 and not exists (
                select from jsonb_array_elements(e.value) i
                where jsonb_typeof(i) <> 'string' or length(i #>> '{}') not between 1 and 50) end as holds
        from jsonb_each(p_changes) e
        join (values
            ('name', 'name', '1 to 100 characters'),
            ('risk_override_pct', 'percent', 'from 0.01 to 100'),
            ('default_volume', 'volume', 'above 0'),
            ('expires_in', 'age', 'a whole number of seconds from 0 to 31536000'),
            ('dedup_seconds', 'window', 'a whole number of seconds from 1 to 86400'),
            ('allowed_pairs', 'list', 'at most 200 texts of 1 to 50 characters'),
            ('allowed_sources', 'list', 'at most 200 texts of 1 to 50 characters')
        ) r (key, kind, rule) on r.key = e.key
        where e.value <> 'null'
    ) c
    where not c.holds
    order by c.key
    limit 1;
    perform public._refuse('FX404', 'not_found', 'broker_connection_id')
    where p_changes ->> 'broker_connection_id' is not null and not exists (
        select from public.broker_connections b
        where b.id = public._uuid(p_changes ->> 'broker_connection_id') and b.user_id = p_user_id);
    perform s.address::inet from jsonb_array_elements_text(
        case jsonb_typeof(p_changes -> 'allowed_sources') when 'array' then p_changes -> 'allowed_sources'
             else '[]' end) s (address);
exception when invalid_text_representation then
    perform public._refuse('FX422', 'invalid', 'allowed_sources', 'addresses, as 52.89.214.238 or 10.0.0.0/8');
end;
$$;
