-- public.idempotency_begin: begins a request that carries an Idempotency-Key.
-- Returns: one row: new (do it, then idempotency_end), replay (with the answer that was given), in_progress
--   (another one does it now), reused (the key belongs to another request).
-- Writes: idempotency_key
-- Locks: the key's row; it waits for a call that begins with it at the same time.
-- Calls: _now, _refuse
-- Raises: FX422
-- Notes: A key is remembered for 24 hours; a request that began 60 seconds ago and never ended may be begun again.
create or replace function public.idempotency_begin(p_user_id uuid, p_key text, p_request_hash bytea)
returns table (state text, status integer, body jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
    v_known public.idempotency_key;
begin
    perform public._refuse('FX422', 'invalid', 'key', '1 to 255 characters')
    where coalesce(length(p_key) not between 1 and 255, true);
    delete from public.idempotency_key k
    where k.user_id = p_user_id and k.created_at < v_now - interval '24 hours';
    insert into public.idempotency_key (user_id, key, request_hash, created_at, begun_at)
    values (p_user_id, p_key, p_request_hash, v_now, v_now)
    on conflict do nothing;
    if found then
        return query select 'new', null::integer, null::jsonb;
        return;
    end if;
    select * into v_known from public.idempotency_key k where k.user_id = p_user_id and k.key = p_key for update;
    if v_known.request_hash is distinct from p_request_hash then
        return query select 'reused', null::integer, null::jsonb;
    elsif v_known.status is not null then
        return query select 'replay', v_known.status, v_known.body;
    elsif v_known.begun_at > v_now - interval '60 seconds' then
        return query select 'in_progress', null::integer, null::jsonb;
    else
        update public.idempotency_key k set begun_at = v_now where k.user_id = p_user_id and k.key = p_key;
        return query select 'new', null::integer, null::jsonb;
    end if;
end;
$$;
