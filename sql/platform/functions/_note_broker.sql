-- public._note_broker: counts what the broker said of ended trades, and pauses an account whose broker refuses them.
-- Returns: nothing.
-- Writes: broker_connections
-- Locks: the accounts, which _order_events has locked before it, in the order of their ids.
-- Calls: _now, _uuid, _broker_error
-- Raises: nothing
-- Notes: 5 soft or 2 hard errors without a fill between them are a pause of 30 seconds. After it trades pass again: one
--   more error is the next pause, 2 fills in a row end it. What ends during a pause was put in before it and counts for
--   nothing. A trade counts once: what an unknown one turned out to be is not news of the broker.
--   A fill writes only where something is counted.
create or replace function public._note_broker(p_jobs jobengine.settled_job[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := public._now();
    j jobengine.settled_job;
    v_account uuid;
    v_said text;    -- ok, soft, hard
begin
    foreach j in array p_jobs loop
        v_account := public._uuid(j.meta ->> 'broker_connection_id');
        v_said := case
            when j.prior_status = 'unknown' then null
            when j.status = 'completed' then 'ok'
            when j.status = 'unknown' then 'soft'
            when j.status = 'failed' then public._broker_error(j.output ->> 'error_code') end;
        if v_said = 'ok' then
            update public.broker_connections b
            set soft_errors = 0,
                hard_errors = 0,
                paused_until = case when b.resumed = 0 then b.paused_until end,
                resumed = case when b.resumed = 0 and b.paused_until is not null then 1 else 0 end
            where b.id = v_account and (b.soft_errors > 0 or b.hard_errors > 0 or b.paused_until <= v_now);
        elsif v_said is not null then
            update public.broker_connections b
            set (soft_errors, hard_errors, paused_until, resumed) = (
                select case when e.paused then 0 else n.soft end, case when e.paused then 0 else n.hard end,
                       case when e.paused then v_now + interval '30 seconds' end, 0
                from (select b.soft_errors + (v_said = 'soft')::integer,
                             b.hard_errors + (v_said = 'hard')::integer) n (soft, hard),
                     lateral (select n.soft >= 5 or n.hard >= 2 or b.paused_until is not null) e (paused))
            where b.id = v_account and (b.paused_until is null or b.paused_until <= v_now);
        end if;
    end loop;
end;
$$;
