-- public._order_events: notes in trade_events what became of orders.
-- Returns: nothing.
-- Writes: trade_events
-- Locks: nothing
-- Calls: _now, _number, _integer, _uuid
-- Raises: nothing
-- Notes: One row per change of an order's status, in the transaction that made it. The agent's answer may be
--   anything: a value that is no number is kept in detail only. A deal that is known already is not noted again.
create or replace function public._order_events(p_jobs jobengine.settled_job[]) returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    insert into public.trade_events (
        user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, symbol, side, volume, price,
        sl, tp, retcode, broker_order_id, deal_id, position_id, realized_pnl, commission, swap, actor, detail,
        occurred_at)
    select j.tenant_id, (j.meta ->> 'agent_id')::uuid, (j.meta ->> 'broker_connection_id')::uuid, j.job_id,
           coalesce(s.id, public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id')), s.strategy_id,
           case j.status
               when 'pending' then 'requested'
               when 'failed' then 'rejected'
               when 'completed' then case when j.job_type = 'close_position' then 'closed'
                                          when o.retcode = 10010 then 'partially_filled'
                                          else 'filled' end
               else j.status end,
           coalesce(j.output ->> 'symbol', j.input ->> 'symbol'),
           coalesce(j.output ->> 'side', j.input ->> 'side'),
           coalesce(public._number(j.output -> 'volume'), public._number(j.input -> 'volume')),
           coalesce(public._number(j.output -> 'fill_price'), public._number(j.output -> 'closed_price')),
           public._number(j.input -> 'sl'), public._number(j.input -> 'tp'), o.retcode,
           coalesce(j.output ->> 'broker_order_id', j.output ->> 'ticket'),
           nullif(nullif(j.output ->> 'deal_id', ''), '0'),  -- 0 is the terminal's word for no deal
           coalesce(j.output ->> 'position_id', j.input ->> 'ticket'),
           public._number(j.output -> 'pnl'), public._number(j.output -> 'commission'),
           public._number(j.output -> 'swap'),
           case when j.status in ('completed', 'failed') then 'agent' else 'platform' end,
           jsonb_strip_nulls(jsonb_build_object(
               'output', j.output, 'error_code', j.error_code, 'error_message', j.error_message,
               'prior_status', j.prior_status)),
           public._now()
    from unnest(p_jobs) j
    cross join lateral (select public._integer(j.output -> 'retcode') as retcode) o
    left join public.tv_signals s
        on s.id = coalesce(public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id'))
       and s.user_id = j.tenant_id
    order by j.job_id
    on conflict (broker_connection_id, deal_id) do nothing
$$;
