-- public._order_key: the order that a key has made before.
-- Returns: its job's id; null for a new key. Until the transaction ends nobody else uses the key.
-- Writes: nothing
-- Locks: an advisory lock of the key; it waits for who holds it.
-- Calls: _now, _refuse
-- Raises: FX422
-- Notes: A key is remembered for 24 hours; that of another request is refused.
create or replace function public._order_key(p_user_id uuid, p_key text, p_request_hash bytea) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_known record;
begin
    if p_key is null then
        return null;
    end if;
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('key', '1 to 255 characters', length(p_key) between 1 and 255),
        ('request_hash', '1 to 64 bytes', length(p_request_hash) between 1 and 64)
    ) r (field, rule, holds)
    where r.holds is not true
    limit 1;
    perform pg_advisory_xact_lock(hashtextextended(concat('order/', p_user_id, '/', p_key), 0));
    select k.job_id, k.request_hash into v_known
    from public.idempotency_key k
    where k.user_id = p_user_id and k.key = p_key and k.created_at > public._now() - interval '24 hours';
    perform public._refuse('FX422', 'idempotency_key_reused', 'key') where v_known.request_hash <> p_request_hash;
    return v_known.job_id;
end;
$$;
