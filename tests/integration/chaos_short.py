"""The chaos bench for half a minute: servers of its own, one capture and three sinks under a few light faults, and the judge.

The same run by hand, with all faults and for longer: tests/chaos/run. Afterwards the judge itself is tried: what it has just found to be
right is made wrong by hand, in each of the ways it knows, and it has to say so.
"""
import os, random, sys, time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path.insert(0, f'{ROOT}/tests/chaos')
import oracle
from runner import Run, all_faults, on_signals, plan, print_result

SECONDS = 20
LIGHT = ('kill-capture', 'kill-sink', 'terminate-walsender', 'terminate-sinks', 'destination-crash', 'hiccup')
SEED = int(os.environ.get('LS_SEED', random.SystemRandom().randrange(1, 1 << 31)))
BIN = os.path.abspath(os.environ.get('LS_BIN', f'{ROOT}/build/dev/lockstep'))

# What is done to the destination, and what the judge must call it.
TAMPERED = [
    ('a row is missing', 'rows', "delete from contacts where id = (select max(id) from contacts)"),
    ('a value differs', 'rows', "update parts set label = 'not so', rev = rev where id = 'p7'"),
    ('a row goes back', 'older', "update lines set rev = 1 where (order_id, line) = (select order_id, line from lines order by rev desc limit 1)"),
    ('a change takes effect twice', 'twice', """do $$ declare l lines; begin select * into l from lines order by rev desc, order_id limit 1 offset 1;
        delete from lines where order_id = l.order_id and line = l.line; commit; insert into lines select l.*; end $$"""),
    ('a deleted row comes back', 'resurrect', """insert into contacts (id, name, rev) select key::bigint, 'back', old_rev from chaos.audit
        where tbl = 'contacts' and op = 'D' and old_rev > 0 and not exists (select from contacts where id = key::bigint) order by n limit 1"""),
    ('a mark goes back', 'offsets', "update identity.sync_offsets set next_offset = next_offset - 1 where next_offset > 1 and topic = 'chaos0.contact'"),
    ('a row has another state', 'versions', "update orders set rev = rev + 1000000 where id = (select max(id) from orders)"),
]


def tried(run):
    """Names of what was made wrong and not found."""
    judge, missed = run.world.oracle, []
    checks = {'rows': judge.rows, 'offsets': judge.offsets, 'versions': lambda: judge.versions(patience=0)}
    for name, kind, statement in TAMPERED:
        run.world.violations.clear()
        run.world.destination_pg.sql(statement)
        checks.get(kind, lambda: judge.history(*reversed(judge.logs())))()
        if kind not in {k for k, _ in run.world.violations}:
            missed.append(f'{name}: expected {kind}, heard {run.world.violations[:3]}')
    return missed


def main():
    on_signals()
    oracle.LAG_SECONDS = 240  # here no speed is measured
    began = time.monotonic()
    print(f'seed {SEED}  binary {BIN}', flush=True)
    faults = [f for name, f in all_faults().items() if name in LIGHT]
    run = Run(f'{ROOT}/build/tests/chaos-short-{os.getpid()}', BIN, SEED, proxies=False, pace=0.25)
    good, bad = 0, []
    try:
        run.begin()
        run.work(SECONDS, plan(faults, SEED, SECONDS, 3.0))
        run.judge()
        result = run.result()
        print_result(result, sys.stdout)
        bad += [f'{v} (seed {SEED})' for v in result['examples'] + result['problems']]
        good += not bad
        print(f"{'FAIL ' if bad else 'ok   '} under faults nothing is lost, twice or older  {time.monotonic() - began:.1f} s", flush=True)
        with open(os.devnull, 'w') as run.world.out:
            missed = [] if bad else tried(run)
        good += not bad and not missed
        bad += missed
        print(f"{'FAIL ' if bad else 'ok   '} the judge finds what was made wrong by hand  {time.monotonic() - began:.1f} s", flush=True)
    finally:
        run.world.down()
    for line in bad:
        print(f'FAIL  {line}')
    if not bad:
        run.forget()
    print(f'{good} passed, {2 - good} failed, 0 skipped')
    sys.exit(1 if bad else 0)


main()
