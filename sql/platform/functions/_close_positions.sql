-- public._close_positions: puts in one close_position job per open position.
-- Returns: the jobs' ids.
-- Writes: nothing
-- Locks: what jobengine.enqueue locks, then what _job_created locks.
-- Calls: _open_positions, _job_created, jobengine.enqueue
-- Raises: JE001
-- Notes: Any agent of the account may do it. With a signal, of its strategy's positions those of the symbol and side
--   that are named; without, all of the user's. Symbols are named in capitals: a broker's spelling does not count.
create or replace function public._close_positions(
    p_user_id uuid, p_strategy_id uuid, p_signal_id uuid, p_symbols text[], p_side text, p_expires_at timestamptz
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_position record;
    v_input jsonb;
    v_meta jsonb;
    v_job_id uuid;
    v_job_ids uuid[] := array[]::uuid[];
begin
    for v_position in
        select p.broker_connection_id, p.position_id, p.symbol
        from public._open_positions(p_user_id, p_strategy_id) p
        where (p_symbols is null or upper(p.symbol) = any (p_symbols)) and (p_side is null or p.side = p_side)
        order by p.position_id
    loop
        v_input := jsonb_strip_nulls(jsonb_build_object(
            'ticket', v_position.position_id, 'symbol', v_position.symbol,
            'source', case when p_signal_id is not null then 'tv_signal' end,
            'signal_id', p_signal_id, 'strategy_id', p_strategy_id));
        v_meta := jsonb_strip_nulls(jsonb_build_object(
            'broker_connection_id', v_position.broker_connection_id, 'parent_id', p_signal_id,
            'parent_type', case when p_signal_id is not null then 'tv_signal' end));
        select e.job_id into v_job_id
        from jobengine.enqueue(
            p_job_types => array['close_position'], p_inputs => array[v_input], p_tenant_ids => array[p_user_id],
            p_queues => array['broker/' || v_position.broker_connection_id], p_metas => array[v_meta],
            p_wakes => array[true], p_expires_ats => array[p_expires_at]) e;
        perform public._job_created(p_user_id, v_job_id, 'close_position', v_input, v_meta);
        v_job_ids := v_job_ids || v_job_id;
    end loop;
    return v_job_ids;
end;
$$;
