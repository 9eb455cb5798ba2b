-- public._note_account: notes what an account is worth.
-- Returns: nothing.
-- Writes: broker_connections, account_snapshots, daily_pnl
-- Locks: the account, then the day's row.
-- Calls: _now, _day, _money, _integer
-- Raises: nothing
-- Notes: The account has the newest values; a snapshot is kept at most once a minute. The first report of a user's day
--   gives the balance that its losses are measured by: what it says, less what the day had realised by then.
create or replace function public._note_account(p_user_id uuid, p_broker_connection_id uuid, p_account jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_now timestamptz := public._now();
    v_balance numeric := public._money(p_account -> 'balance');
    v_equity numeric := public._money(p_account -> 'equity');
    v_positions integer := public._integer(p_account -> 'open_positions');
begin
    update public.broker_connections b
    set last_balance = coalesce(v_balance, b.last_balance),
        last_equity = coalesce(v_equity, b.last_equity),
        snapshot_at = case when v_balance is not null or v_equity is not null then v_now else b.snapshot_at end,
        open_positions = case when v_positions >= 0 then v_positions else b.open_positions end
    where b.id = p_broker_connection_id;
    if v_balance is null then
        return;
    end if;
    insert into public.account_snapshots (
        user_id, broker_connection_id, balance, equity, margin_used, margin_available, taken_at)
    select p_user_id, p_broker_connection_id, v_balance, coalesce(v_equity, v_balance),
           public._money(p_account -> 'margin_used'), public._money(p_account -> 'margin_available'), v_now
    where not exists (
        select from public.account_snapshots s
        where s.broker_connection_id = p_broker_connection_id and s.taken_at > v_now - interval '60 seconds');
    insert into public.daily_pnl as d (user_id, broker_connection_id, day, base_balance)
    values (p_user_id, p_broker_connection_id, public._day(p_user_id, v_now), v_balance)
    on conflict (user_id, broker_connection_id, day) do update
    set base_balance = excluded.base_balance - d.realized_pnl
    where d.base_balance is null;
end;
$$;
