-- public._cancel_orders: cancels the orders of a user that open a position and are not sent yet.
-- Returns: how many were cancelled.
-- Writes: nothing
-- Locks: what jobengine.cancel locks.
-- Calls: jobengine.cancel
-- Raises: JE004
-- Notes: Of one strategy and of these symbols (in capitals, however the order spells its own), where they are named.
--   One that an agent has begun is left alone: it may be at the broker already.
create or replace function public._cancel_orders(
    p_user_id uuid, p_strategy_id uuid, p_symbols text[], p_reason text
) returns integer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select count(*) filter (where c.verdict = 'ok' and c.status = 'cancelled')::integer
    from jobengine.cancel(
        p_job_ids => array(
            select w.job_id
            from (
                select r.job_id from jobengine.ready r where r.tenant_id = p_user_id
                union all
                select l.job_id from jobengine.lease l where l.tenant_id = p_user_id and l.started_at is null
            ) w
            join jobengine.job j on j.job_id = w.job_id
            where j.job_type = 'trade' and (p_strategy_id is null or j.input ->> 'strategy_id' = p_strategy_id::text)
              and (p_symbols is null or upper(j.input ->> 'symbol') = any (p_symbols))),
        p_reason => p_reason, p_tenant_id => p_user_id) c
$$;
