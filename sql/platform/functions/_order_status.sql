-- public._order_status: what an order is called whose job is in this status.
-- Returns: the order's status.
-- Writes: nothing
-- Locks: nothing
-- Calls: _integer
-- Raises: nothing
create or replace function public._order_status(p_job_type text, p_status text, p_output jsonb) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case
        when p_status = 'running' then 'sent'
        when p_status = 'failed' then 'rejected'
        when p_status <> 'completed' then p_status
        when p_job_type = 'close_position' then 'closed'
        when public._integer(p_output -> 'retcode') = 10010 then 'partially_filled'
        else 'filled' end
$$;
