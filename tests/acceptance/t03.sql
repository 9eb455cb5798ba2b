-- The eight boxes of T03's acceptance criteria: prints `ok` and the box for each, and stops at the first that fails.
--     psql "$DATABASE_URL" -f tests/acceptance/t03.sql
-- As the role that installed engine and platform, which may insert into auth.users. Leaves the ended jobs of a user
-- that it makes and removes. The last box needs a second session: psql is called again, with the same DATABASE_URL
-- (or the same host, port, user and database where that is not set).
\set QUIET on
\set ON_ERROR_STOP on
\pset tuples_only on
\pset format unaligned
-- a role named like the engine's schema would find the engine's count before PostgreSQL's
set search_path = public;
begin;
set local client_min_messages = warning;

create function pg_temp.box(p_holds boolean, p_box text) returns text language plpgsql as $$
begin
    if p_holds is not true then
        raise exception 'not ok: %', p_box;
    end if;
    return 'ok ' || p_box;
end;
$$;

create function pg_temp.columns(p_table text, p_columns text[]) returns boolean language sql as $$
    select count(*) = cardinality(p_columns)
    from information_schema.columns
    where table_schema = 'public' and table_name = p_table and column_name = any (p_columns)
$$;

select pg_temp.box(
    pg_temp.columns('mt5_agents', '{pairing_key_hash, pairing_key_prefix}'),
    '1 mt5_agents has pairing_key_hash and pairing_key_prefix');

select pg_temp.box(pg_temp.columns('jobs', '{agent_id, claimed_at}'), '2 jobs has agent_id and claimed_at');

-- Box 3: jobs is a view; what the CHECK was for is the engine's list of types.
create function pg_temp.refuses(p_job_type text) returns boolean language plpgsql as $$
begin
    perform jobengine.enqueue(array[p_job_type]);
    return false;
exception when sqlstate 'JE001' then
    return true;
end;
$$;
select pg_temp.box(
    (select array_agg(t.job_type order by t.job_type) = array[
        'close_position', 'compile', 'deploy', 'get_account', 'get_candles', 'get_positions', 'run', 'stop', 'trade']
     from jobengine.job_type t
     where t.job_type in ('compile', 'deploy', 'run', 'stop', 'trade', 'get_positions', 'get_account', 'get_candles',
                          'close_position'))
    and pg_temp.refuses('withdraw'),
    '3 jobs takes the 9 job types and refuses another');

select pg_temp.box(
    pg_temp.columns('ea_projects', '{current_version_id}'), '4 ea_projects has current_version_id');

select pg_temp.box(
    (select c.relrowsecurity and c.relkind = 'r' from pg_class c where c.oid = to_regclass('public.tv_strategies')),
    '5 tv_strategies exists with row level security');

select pg_temp.box(
    (select c.relrowsecurity and c.relkind = 'r' from pg_class c where c.oid = to_regclass('public.tv_signals')),
    '6 tv_signals exists with row level security');

-- Boxes 7 and 8 work on a user of their own, with two agents and 20 jobs that are for any of them.
select gen_random_uuid() as owner, gen_random_uuid() as first, gen_random_uuid() as second \gset
insert into auth.users (id, email) values (:'owner', :'owner' || '@example.org');
insert into public.mt5_agents (id, user_id, name) values (:'first', :'owner', 't03'), (:'second', :'owner', 't03');
select count(*) as created
from generate_series(1, 20) n
cross join lateral public.job_create(
    'get_account', jsonb_build_object('number', n), p_user_id => :'owner') c \gset
commit;

begin;
create temporary table claimed as
select j.id, j.status, j.agent_id, j.claimed_at from public.claim_next_job(:'first') j;
select pg_temp.box(
    to_regprocedure('public.claim_next_job(uuid)') is not null
    and (select count(*) = 1 and bool_and(c.status = 'running' and c.claimed_at is not null
             and c.agent_id = :'first') from claimed c),
    '7 claim_next_job(uuid) exists and returns a job row atomically');

-- While this transaction holds its job, the other session takes all the rest, as both agents by turns.
\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGUSER :USER
\setenv PGDATABASE :DBNAME
\setenv PGOPTIONS '-c search_path=public'
\setenv T03_FIRST :first
\setenv T03_SECOND :second
\set taken `psql ${DATABASE_URL:+"$DATABASE_URL"} -X -q -A -t -F / -v ON_ERROR_STOP=1 -c "select count(*), count(distinct j.id) from generate_series(1, 30) n cross join lateral public.claim_next_job(case when n % 2 = 0 then '$T03_FIRST' else '$T03_SECOND' end::uuid) j"`
commit;
begin;
select pg_temp.box(
    :'taken' = '19/19'
    and (select count(*) = 20 and count(distinct j.id) = 20
         from public.jobs j where j.user_id = :'owner' and j.status = 'running'),
    '8 claim_next_job called twice concurrently never returns the same job to two agents');
delete from auth.users where id = :'owner';
commit;
