-- public._frozen_version: trigger that keeps the source of a version that is no draft any more.
-- Returns: the row.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX409
-- Notes: What was compiled, or is running somewhere, must be what the source says; an edit makes a new version.
create or replace function public._frozen_version() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX409', 'version_frozen', 'source_code', 'only a draft can be edited')
    where old.status <> 'draft' and (new.source_code is distinct from old.source_code or new.status = 'draft');
    return new;
end;
$$;
