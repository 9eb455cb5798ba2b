import time, psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from tests.plans.explain import *
from tests.plans.backlog import *

OPS = {
 "claim": lambda b: ("select * from jobengine.claim(%s)", Jsonb([{"tenant_id":str(BIG),"queues":QUEUES,"agent_id":"a","limit":10}])),
 "claim_small": lambda b: ("select * from jobengine.claim(%s)", Jsonb([{"tenant_id":str(tenant(7)),"queues":QUEUES,"agent_id":"a","limit":10}])),
 "claim_tenants": lambda b: ("select * from jobengine.claim(%s)", Jsonb([{"tenants":[str(tenant(i)) for i in (1,3,5,7,9)],"queues":QUEUES,"agent_id":"a","limit":10}])),
 "claim_any": lambda b: ("select * from jobengine.claim(%s)", Jsonb([{"queues":QUEUES,"agent_id":"a","limit":10}])),
 "claim_repeat": lambda b: ("select * from jobengine.claim(%s)", Jsonb([{"queues":QUEUES,"agent_id":"agent 5","limit":10, "request_id": str(UUID(int=0))}])),
 "start": lambda b: ("select * from jobengine.start(%s,%s)", b.ids(LEASE,*range(1,11)), [1]*10),
 "extend": lambda b: ("select * from jobengine.extend(%s,%s)", b.ids(LEASE,*range(1,11)), [1]*10),
 "release": lambda b: ("select * from jobengine.release(%s,%s)", b.ids(LEASE,*range(1,11)), [1]*10),
 "finish": lambda b: ("select * from jobengine.finish(%s,%s,%s)", b.ids(LEASE,*range(1,11)), [1]*10, ["completed"]*10),
 "fail": lambda b: ("select * from jobengine.finish(%s,%s,%s)", b.ids(LEASE,*range(1,11)), [1]*10, ["failed"]*10),
 "finish again": lambda b: ("select * from jobengine.finish(%s,%s,%s)", b.ids(ENDED,*range(1,11)), [1]*10, ["completed"]*10),
 "cancel": lambda b: ("select * from jobengine.cancel(%s)", b.ids(READY,1,2,3)+b.ids(LEASE,1,2,3)+b.ids(ENDED,1,2,3,4)),
 "get": lambda b: ("select * from jobengine.get(%s)", b.ids(READY,1,2,3)+b.ids(LEASE,1,2,3)+b.ids(ENDED,1,2,3,4)),
 "retry": lambda b: ("select * from jobengine.retry(%s)", b.ids(ENDED,*range(1,11))),
 "sweep": lambda b: ("select * from jobengine.sweep(10)",),
 "prune": lambda b: ("select * from jobengine.prune(0, null, 10)",),
 "dedup": lambda b: ("select * from jobengine.enqueue(array['work','work'], p_dedup_keys=>array['dedup 2','new'])",),
 "live": lambda b: ("select * from jobengine.enqueue(array['work','work'], p_live_keys=>array['live 2','new'])",),
 "enqueue": lambda b: ("select * from jobengine.enqueue(array['work','work'])",),
 "next_due": lambda b: ("select * from jobengine._next_due(%s,%s)",[BIG],QUEUES),
 "tenants": lambda b: ("select * from jobengine._tenants(null, 10)",),
}
import pytest
@pytest.mark.parametrize("path",["never","stale"])
def test_try(database_url, admin_url, path):
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as c:
        b=Backlog(c)
        if b: pass
        c.execute("truncate jobengine.job, jobengine.ready, jobengine.lease, jobengine.ended, jobengine.failure, jobengine.live_key")
        olds={}
        for size in (10,10000,200000):
            t=time.time(); b.grow(size); print(path,size,"grow",round(time.time()-t,1))
            if size==10 and path=="stale": b.analyze()
            for fresh in ((False,True) if size==200000 and path=="never" else (False,)):
              if fresh: b.analyze()
              for mode in ("force_custom_plan","force_generic_plan"):
                if size==10:
                    old=explaining(admin_url,database_url,mode); olds[mode]=(old,old.__enter__())
                for who in ("old","new"):
                  def go(e):
                    for n,f in OPS.items():
                        q=f(b)
                        e.work(*q)
                        t=time.time(); w=e.work(*q); dt=time.time()-t
                        print(f"{path:6} {size:7} {'fresh' if fresh else ''} {mode[6:12]} {who} {n:14} rows {w.rows:6.0f} buf {w.buffers:6} ans {len(w.answers)} {dt*1000:.1f}ms", "SEQ "+str([(s.table,s.rows) for s in w.whole_tables]) if w.whole_tables else "", [ (s.table,s.index,s.rows) for s in w.scans if s.rows>40])
                  if who=="old": go(olds[mode][1])
                  elif size>10:
                    with explaining(admin_url,database_url,mode) as e: go(e)
        for o,_ in olds.values(): o.__exit__(None,None,None)
