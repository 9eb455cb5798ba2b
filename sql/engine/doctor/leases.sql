-- jobengine doctor, leases: leases that have run out and that no sweep has taken back.
-- Reads: jobengine.lease
-- Rights: jobengine_operator, or the owner
select
    count(*) as leases,
    coalesce(extract(epoch from clock_timestamp() - min(l.lease_expires_at)), 0)::double precision as seconds
from jobengine.lease l
where l.lease_expires_at < clock_timestamp();
