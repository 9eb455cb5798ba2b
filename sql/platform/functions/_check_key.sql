-- public._check_key: refuses what is no stored form of an agent's key.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX422
-- Notes: An empty hash must never verify, so it is never stored.
create or replace function public._check_key(p_key_hash text, p_key_prefix text, p_key_digest bytea) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('key_hash', 'a hash of 1 to 200 characters', length(p_key_hash) between 1 and 200),
        ('key_prefix', '8 characters', length(p_key_prefix) = 8),
        ('key_digest', '32 bytes', length(p_key_digest) = 32)
    ) r (field, rule, holds)
    where r.holds is not true
    limit 1;
end;
$$;
