-- public.idempotency_end: keeps the answer of a request that carried an Idempotency-Key.
-- Returns: whether it was kept: false if the key was not begun or has an answer.
-- Writes: idempotency_key
-- Locks: the key's row.
-- Calls: nothing
-- Raises: nothing
-- Notes: A null status forgets the key, after an error that a repeat may not meet.
create or replace function public.idempotency_end(p_user_id uuid, p_key text, p_status integer, p_body jsonb)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_status is null then
        delete from public.idempotency_key k where k.user_id = p_user_id and k.key = p_key and k.status is null;
    else
        update public.idempotency_key k set status = p_status, body = p_body
        where k.user_id = p_user_id and k.key = p_key and k.status is null;
    end if;
    return found;
end;
$$;
