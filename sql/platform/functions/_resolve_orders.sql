-- public._resolve_orders: ends unknown orders of an account whose deals are known by now.
-- Returns: how many.
-- Writes: nothing
-- Locks: what jobengine.finish locks.
-- Calls: _deals, jobengine.finish
-- Raises: nothing
-- Notes: They are completed with the price and the sums of their deals: those of the report, and those that were
--   noted before the order became unknown.
create or replace function public._resolve_orders(p_user_id uuid, p_broker_connection_id uuid, p_deals jsonb)
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_job_ids uuid[];
    v_epochs integer[];
    v_outputs jsonb[];
begin
    with unresolved as (
        select e.job_id, e.lease_epoch, j.job_type
        from jobengine.ended e
        cross join lateral (select b.job_type, b.meta from jobengine.job b where b.job_id = e.job_id limit 1) j
        where e.tenant_id = p_user_id and e.status = 'unknown' and j.job_type in ('trade', 'close_position')
          and j.meta ->> 'broker_connection_id' = p_broker_connection_id::text
    ), deal as (
        select d.job_id, d.deal_id, d.symbol, d.side, d.volume, d.price, d.profit, d.commission, d.swap,
               d.broker_order_id, d.position_id, d.occurred_at
        from public._deals(p_user_id, p_broker_connection_id, p_deals) d
        union
        select t.job_id, t.deal_id, t.symbol, t.side, t.volume, t.price, t.realized_pnl, t.commission, t.swap,
               t.broker_order_id, t.position_id, t.occurred_at
        from unresolved u
        join public.trade_events t on t.job_id = u.job_id and t.broker_connection_id = p_broker_connection_id
        where t.deal_id is not null
    ), once as (
        select distinct on (d.job_id, d.deal_id) d.* from deal d order by d.job_id, d.deal_id
    ), resolved as (
        select u.job_id, u.lease_epoch, jsonb_strip_nulls(jsonb_build_object(
                   'resolved_by', 'deals', 'ticket', max(o.position_id), 'position_id', max(o.position_id),
                   'broker_order_id', max(o.broker_order_id), 'deal_id', min(o.deal_id),
                   'symbol', max(o.symbol), 'side', max(o.side), 'volume', sum(o.volume),
                   case u.job_type when 'trade' then 'fill_price' else 'closed_price' end,
                   round(sum(o.price * o.volume) / nullif(sum(o.volume), 0), 8),
                   'pnl', case when u.job_type = 'close_position' then coalesce(sum(o.profit), 0) end,
                   'commission', coalesce(sum(o.commission), 0), 'swap', coalesce(sum(o.swap), 0))) as output
        from unresolved u
        join once o on o.job_id = u.job_id
        group by u.job_id, u.lease_epoch, u.job_type
    )
    select array_agg(r.job_id order by r.job_id), array_agg(r.lease_epoch order by r.job_id),
           array_agg(r.output order by r.job_id)
    into v_job_ids, v_epochs, v_outputs
    from resolved r;
    if v_job_ids is null then
        return 0;
    end if;
    return (
        select count(*)::integer from jobengine.finish(
            p_job_ids => v_job_ids, p_lease_epochs => v_epochs,
            p_outcomes => array_fill('completed'::text, array[cardinality(v_job_ids)]), p_outputs => v_outputs) f
        where f.verdict in ('ok', 'settle_failed'));
end;
$$;
