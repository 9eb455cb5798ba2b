-- public._order_step: notes that an order was claimed or sent.
-- Returns: nothing.
-- Writes: trade_events
-- Locks: nothing
-- Calls: _number, _uuid, _now
-- Raises: nothing
-- Notes: Once per lease: a repeated claim gets the lease that it has. A job that is no order is passed over.
create or replace function public._order_step(p_event text, p_job_id uuid, p_lease_epoch integer, p_agent_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
    insert into public.trade_events (
        user_id, agent_id, broker_connection_id, job_id, signal_id, strategy_id, event, symbol, side, volume, sl, tp,
        position_id, actor, detail, occurred_at)
    select j.tenant_id, p_agent_id, public._uuid(j.meta ->> 'broker_connection_id'), p_job_id,
           coalesce(public._uuid(j.meta ->> 'parent_id'), public._uuid(j.input ->> 'signal_id')),
           public._uuid(j.input ->> 'strategy_id'), p_event, j.input ->> 'symbol', j.input ->> 'side',
           public._number(j.input -> 'volume'), public._number(j.input -> 'sl'), public._number(j.input -> 'tp'),
           left(j.input ->> 'ticket', 64), 'agent', jsonb_build_object('lease_epoch', p_lease_epoch), public._now()
    from jobengine.job j
    where j.job_id = p_job_id and j.job_type in ('trade', 'close_position')
      and not exists (
          select from public.trade_events e
          where e.job_id = p_job_id and e.event = p_event
            and e.detail -> 'lease_epoch' = to_jsonb(p_lease_epoch));
end;
$$;
