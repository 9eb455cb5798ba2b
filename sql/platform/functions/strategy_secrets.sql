-- public.strategy_secrets: the digests of all secrets that a webhook may come with.
-- Returns: one row per digest, the former ones of a rotation while they work.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
-- Notes: The service keeps them outside, to know an alert for a user's while the database does not answer.
create or replace function public.strategy_secrets() returns setof bytea
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.secret_digest from public.tv_strategies s
    union all
    select s.previous_secret_digest from public.tv_strategies s where s.previous_secret_until > public._now()
$$;
