-- A settle function learns who held the job last: the agent of the lease that ended, null where there was none.
alter type jobengine.settled_job add attribute agent_id text;
