-- public._loss_gate: says whether the losses of a user's day let a new order pass.
-- Returns: null if they do; daily_loss_limit_reached; risk_data_unavailable (a loss, but nobody knows of what).
-- Writes: nothing
-- Locks: nothing
-- Calls: _day, _now
-- Raises: nothing
-- Notes: p_limit_pct is in percent of the balance at the beginning of the day, null no limit; p_broker_connection_id
--   the account that counts, null any of them.
create or replace function public._loss_gate(p_user_id uuid, p_limit_pct numeric, p_broker_connection_id uuid)
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select case when d.base_balance is null then 'risk_data_unavailable' else 'daily_loss_limit_reached' end
    from public.daily_pnl d
    where p_limit_pct is not null and d.user_id = p_user_id and d.day = (select public._day(p_user_id, public._now()))
      and (p_broker_connection_id is null or d.broker_connection_id = p_broker_connection_id)
      and d.realized_pnl < 0
      and (d.base_balance is null or d.realized_pnl <= -d.base_balance * p_limit_pct / 100)
    order by d.base_balance nulls last
    limit 1
$$;
