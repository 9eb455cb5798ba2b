-- jobengine._settle: lets the host's settle function change the parents of ended jobs of one type.
-- Transition: none
-- Returns: the jobs that it did not accept: error, and whether sweep tries again.
-- Writes: nothing itself; the settle function writes the parents.
-- Locks: the parents, by id (the settle function's duty), for at most 2 s of waiting.
-- Calls: nothing by a fixed name; the type's settle function by the registered one.
-- Raises: nothing
-- Concurrency: each call of the settle function is a sub-transaction of its own. A data error splits the batch,
--   at most 16 times, until the poison job stands alone; a lock, serialization or missing-right error (55P03,
--   class 40, class 42) defers the batch whole.
--   `parent_gone` (raise with errcode 'JE010') of a job that stands alone is kept as the error and not tried again.
create or replace function jobengine._settle(p_job_type text, p_jobs jobengine.settled_job[])
returns jobengine._unsettled[]
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_seqscan = on
set enable_bitmapscan = on
set enable_hashjoin = on
set enable_mergejoin = on
set plan_cache_mode = auto
as $$
declare
    v_function text;
    v_from integer[] := array[1];           -- the parts still to settle, a stack
    v_to integer[] := array[cardinality(p_jobs)];
    v_splits integer := 0;
    v_top integer := 1;
    v_first integer;
    v_last integer;
    v_error text;
    v_gone boolean;
    v_unsettled jobengine._unsettled[] := array[]::jobengine._unsettled[];
begin
    select format('select %I.%I($1)', t.settle_schema, t.settle_function) into v_function
    from jobengine.job_type t where t.job_type = p_job_type;
    while v_top > 0 loop
        v_first := v_from[v_top];
        v_last := v_to[v_top];
        v_top := v_top - 1;
        begin
            execute v_function using p_jobs[v_first : v_last];
        exception when others then
            v_error := sqlstate || ' ' || sqlerrm;
            v_gone := sqlstate = 'JE010' and v_first = v_last;
            if sqlstate <> '55P03' and left(sqlstate, 2) not in ('40', '42') and v_first < v_last and v_splits < 16 then
                v_splits := v_splits + 1;
                v_from[v_top + 1] := (v_first + v_last) / 2 + 1;
                v_to[v_top + 1] := v_last;
                v_from[v_top + 2] := v_first;
                v_to[v_top + 2] := (v_first + v_last) / 2;
                v_top := v_top + 2;
            else
                v_unsettled := v_unsettled || array(
                    select (j.job_id, case when v_gone then 'parent_gone' else v_error end,
                            not v_gone)::jobengine._unsettled
                    from unnest(p_jobs[v_first : v_last]) j);
            end if;
        end;
    end loop;
    return v_unsettled;
end;
$$;
