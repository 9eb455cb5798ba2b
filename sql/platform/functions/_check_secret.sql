-- public._check_secret: refuses what nobody should have to guess.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX422
create or replace function public._check_secret(p_webhook_secret text) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'webhook_secret', 'at least 43 URL-safe characters: 256 bits')
    where p_webhook_secret !~ '^[A-Za-z0-9_-]{43,128}$' or p_webhook_secret is null;
end;
$$;
