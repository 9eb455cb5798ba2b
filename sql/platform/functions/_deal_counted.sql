-- public._deal_counted: trigger that adds a deal to the profit and loss of its day, once, as the deal is noted once.
-- Returns: nothing that counts.
-- Writes: daily_pnl
-- Locks: the day's row; it waits for who holds it.
-- Calls: _day
-- Raises: nothing
-- Notes: Of an account that is gone nothing is counted. The day is that of the deal, in the user's time zone.
create or replace function public._deal_counted() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.daily_pnl as d (user_id, broker_connection_id, day, realized_pnl)
    select b.user_id, b.id, public._day(b.user_id, new.occurred_at),
           coalesce(new.realized_pnl, 0) + coalesce(new.commission, 0) + coalesce(new.swap, 0)
    from public.broker_connections b
    where b.id = new.broker_connection_id and b.user_id = new.user_id
    on conflict (user_id, broker_connection_id, day) do update
    set realized_pnl = d.realized_pnl + excluded.realized_pnl;
    return null;
end;
$$;
