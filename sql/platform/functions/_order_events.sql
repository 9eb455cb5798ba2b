-- public._order_events: notes in trade_events what became of orders.
-- Returns: nothing.
-- Writes: trade_events, broker_connections
-- Locks: the broker accounts of the filled ones, by id, so that a fill and its deals come one after the other, and of
--   the trades that failed, for _note_broker; it waits for those that others hold.
-- Calls: _now, _number, _money, _integer, _uuid
-- Raises: nothing
-- Notes: One row per change of an order's status, in the transaction that made it, and `reconciled` before what an
--   unknown one turned out to be. The agent's answer may be anything: a value that is no number is kept in detail
--   only. A deal that is known already is not noted again, nor a fill without a deal whose deals are known; what
--   deals_report resolves it notes itself. A deal whose money the agent does not tell is left to deals_report, as a
--   deal is counted once; one that a report told of before, without the order's comment, has been counted, and the
--   fill is noted without it. A fill is one position more until the next report says how many there are. The plans
--   are kept: made anew they took two thirds of a call's time.
create or replace function public._order_events(p_jobs jobengine.settled_job[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    j jobengine.settled_job;
    v_account uuid;
    v_parent_id uuid;
    v_signal record;
    v_retcode integer;
    v_deal_id text;
    v_told boolean;    -- a report told of the deal, and did not know whose it is
    v_event text;
    v_filled boolean;
begin
    perform from public.broker_connections b
    where b.id in (select public._uuid(c.meta ->> 'broker_connection_id') from unnest(p_jobs) c
                   where c.status = 'completed' or c.job_type = 'trade' and c.status in ('failed', 'unknown'))
    order by b.id
    for no key update;
    foreach j in array p_jobs loop
        v_account := public._uuid(j.meta ->> 'broker_connection_id');
        v_parent_id := public._uuid(j.meta ->> 'parent_id');
        v_retcode := public._integer(j.output -> 'retcode');
        v_deal_id := case
            when j.status = 'completed' and length(j.output ->> 'deal_id') between 1 and 64
                 and public._money(j.output -> case j.job_type when 'trade' then 'commission' else 'pnl' end)
                     is not null then nullif(j.output ->> 'deal_id', '0') end;    -- 0: the terminal's none
        v_told := exists (select from public.trade_events e
                          where e.broker_connection_id = v_account and e.deal_id = v_deal_id and e.job_id is null);
        v_deal_id := case when not v_told then v_deal_id end;
        select s.id, s.strategy_id into v_signal
        from (select w.id, w.strategy_id, w.user_id from public.tv_signals w
            where w.id = coalesce(v_parent_id, public._uuid(j.input ->> 'signal_id'))
            offset 0    -- no other index may come into question
        ) s
        where s.user_id = j.tenant_id;
        foreach v_event in array array_remove(array[
            case when j.prior_status = 'unknown' and j.status in ('completed', 'failed') then 'reconciled' end,
            case when j.status = 'pending' then 'requested'
                 when j.status = 'failed' then 'rejected'
                 when j.status <> 'completed' then j.status
                 when j.output -> 'resolved_by' = '"deals"' then null
                 when v_deal_id is null and exists (
                     select from public.trade_events e where e.job_id = j.job_id and e.deal_id is not null) then null
                 when j.job_type = 'close_position' then 'closed'
                 when v_retcode = 10010 then 'partially_filled'
                 else 'filled' end], null)
        loop
            v_filled := j.status = 'completed' and v_event <> 'reconciled';
            insert into public.trade_events (
                user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, symbol, side, volume,
                price, sl, tp, retcode, broker_order_id, deal_id, position_id, realized_pnl, commission, swap,
                latency_ms, actor, detail, occurred_at)
            values (
                j.tenant_id, coalesce(public._uuid(j.agent_id), public._uuid(j.meta ->> 'agent_id')), v_account,
                j.job_id, coalesce(v_signal.id, v_parent_id), v_signal.strategy_id, v_event,
                coalesce(j.output ->> 'symbol', j.input ->> 'symbol'),
                coalesce(j.output ->> 'side', j.input ->> 'side'),
                coalesce(public._number(j.output -> 'volume'), public._number(j.input -> 'volume')),
                coalesce(public._number(j.output -> 'fill_price'), public._number(j.output -> 'closed_price')),
                public._number(j.input -> 'sl'), public._number(j.input -> 'tp'), v_retcode,
                coalesce(j.output ->> 'broker_order_id', j.output ->> 'ticket'),
                case when v_filled then v_deal_id end,
                left(coalesce(j.output ->> 'position_id', j.input ->> 'ticket'), 64),    -- it is indexed
                case when v_filled then public._money(j.output -> 'pnl') end,
                case when v_filled then public._money(j.output -> 'commission') end,
                case when v_filled then public._money(j.output -> 'swap') end,
                case when v_filled then public._integer(j.output -> 'latency' -> 'filled_ms') end,
                case when j.status in ('completed', 'failed') then 'agent' else 'platform' end,
                jsonb_strip_nulls(jsonb_build_object(
                    'output', j.output, 'error_code', j.error_code, 'error_message', j.error_message,
                    'prior_status', j.prior_status,
                    'client_order_id', case when j.status = 'pending' then j.meta -> 'client_order_id' end)),
                public._now())
            on conflict (broker_connection_id, deal_id) do nothing;
            if found and not v_told and v_event in ('filled', 'partially_filled') then
                update public.broker_connections b
                set open_positions = b.open_positions + 1
                where b.id = v_account and b.open_positions is not null;
            end if;
        end loop;
    end loop;
end;
$$;
