-- public._strategy_secret: trigger that keeps the digest by which a webhook's secret is found.
-- Returns: the row.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: Users may write the row themselves (T03's policy), so the digest is nobody's to choose.
create or replace function public._strategy_secret() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.secret_digest := sha256(convert_to(new.webhook_secret, 'UTF8'));
    return new;
end;
$$;
