-- public._order_events: notes in trade_events what became of orders.
-- Returns: nothing.
-- Writes: trade_events, broker_connections
-- Locks: the broker accounts of the filled ones, by id, so that a fill and its deals come one after the other; it
--   waits for those that others hold.
-- Calls: _now, _number, _money, _integer, _uuid
-- Raises: nothing
-- Notes: One row per change of an order's status, in the transaction that made it, and `reconciled` before what an
--   unknown one turned out to be. The agent's answer may be anything: a value that is no number is kept in detail
--   only. A deal that is known already is not noted again, nor a fill without a deal whose deals are known; what
--   deals_report resolves it notes itself. A deal whose money the agent does not tell is left to deals_report, as a
--   deal is counted once. A fill is one position more until the next report says how many there are. The plans are
--   kept: made anew they took two thirds of a call's time.
create or replace function public._order_events(p_jobs jobengine.settled_job[]) returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
    select b.id from public.broker_connections b
    where b.id in (select public._uuid(j.meta ->> 'broker_connection_id') from unnest(p_jobs) j
                   where j.status = 'completed')
    order by b.id
    for no key update;
    with change as (
        select j.*, o.retcode,
               case when j.status = 'completed' and length(j.output ->> 'deal_id') between 1 and 64
                     and public._money(j.output -> case j.job_type when 'trade' then 'commission' else 'pnl' end)
                         is not null then
                   nullif(j.output ->> 'deal_id', '0') end as deal_id,  -- 0: the terminal's none
               coalesce(public._uuid(j.agent_id), public._uuid(j.meta ->> 'agent_id')) as holder,
               public._uuid(j.meta ->> 'broker_connection_id') as account,
               public._uuid(j.meta ->> 'parent_id') as parent_id,
               case j.status
                   when 'pending' then 'requested'
                   when 'failed' then 'rejected'
                   when 'completed' then case when j.job_type = 'close_position' then 'closed'
                                              when o.retcode = 10010 then 'partially_filled'
                                              else 'filled' end
                   else j.status end as event
        from unnest(p_jobs) j
        cross join lateral (select public._integer(j.output -> 'retcode') as retcode) o
    ), told as (
        select c.job_id, 'reconciled' as event, 1 as place, false as filled
        from change c where c.prior_status = 'unknown' and c.status in ('completed', 'failed')
        union all
        select c.job_id, c.event, 2, c.status = 'completed'
        from change c
        where c.status <> 'completed'
           or c.output -> 'resolved_by' is distinct from '"deals"'
              and (c.deal_id is not null or not exists (
                  select from public.trade_events e where e.job_id = c.job_id and e.deal_id is not null))
    ), noted as (
        insert into public.trade_events (
            user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, symbol, side, volume, price,
            sl, tp, retcode, broker_order_id, deal_id, position_id, realized_pnl, commission, swap, latency_ms, actor,
            detail, occurred_at)
        select j.tenant_id, j.holder, j.account, j.job_id, coalesce(s.id, j.parent_id), s.strategy_id, t.event,
               coalesce(j.output ->> 'symbol', j.input ->> 'symbol'),
               coalesce(j.output ->> 'side', j.input ->> 'side'),
               coalesce(public._number(j.output -> 'volume'), public._number(j.input -> 'volume')),
               coalesce(public._number(j.output -> 'fill_price'), public._number(j.output -> 'closed_price')),
               public._number(j.input -> 'sl'), public._number(j.input -> 'tp'), j.retcode,
               coalesce(j.output ->> 'broker_order_id', j.output ->> 'ticket'),
               case when t.filled then j.deal_id end,
               coalesce(j.output ->> 'position_id', j.input ->> 'ticket'),
               case when t.filled then public._money(j.output -> 'pnl') end,
               case when t.filled then public._money(j.output -> 'commission') end,
               case when t.filled then public._money(j.output -> 'swap') end,
               case when t.filled then public._integer(j.output -> 'latency' -> 'filled_ms') end,
               case when j.status in ('completed', 'failed') then 'agent' else 'platform' end,
               jsonb_strip_nulls(jsonb_build_object(
                   'output', j.output, 'error_code', j.error_code, 'error_message', j.error_message,
                   'prior_status', j.prior_status,
                   'client_order_id', case when j.status = 'pending' then j.meta -> 'client_order_id' end)),
               public._now()
        from told t
        join change j on j.job_id = t.job_id
        left join public.tv_signals s
            on s.id = coalesce(j.parent_id, public._uuid(j.input ->> 'signal_id')) and s.user_id = j.tenant_id
        order by j.job_id, t.place
        on conflict (broker_connection_id, deal_id) do nothing
        returning broker_connection_id, event
    )
    update public.broker_connections b
    set open_positions = b.open_positions + n.fills
    from (select f.broker_connection_id, count(*) as fills
          from noted f where f.event in ('filled', 'partially_filled') group by f.broker_connection_id) n
    where b.id = n.broker_connection_id and b.open_positions is not null
$$;
