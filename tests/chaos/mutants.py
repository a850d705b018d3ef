"""Each mutant of the code, with the work and the fault that show it, and what the judge must then say.

A mutant is a place LS_MUTANT("name") of a build with LOCKSTEP_MUTANTS; one that has no scene here is a failure of this program.
"""
import argparse, collections, glob, json, os, random, re, signal, sys, time, traceback

from runner import ROOT, Run, on_signals, until
from workload import CONTACTS, blob, own, text, transaction

Scene = collections.namedtuple('Scene', 'expected play settings options')


def rest(run, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run.world.look_after()
        time.sleep(0.05)


def state_of(pid):
    with open(f'/proc/{pid}/stat') as f:
        return f.read().rsplit(')', 1)[1].split()[0]


# ---- what happens ----

def nothing(run, rng):
    rest(run, 6)


def marks_of(run, pid):
    """{(topic, partition): next offset} of what a process owns."""
    owned = run.world.destination_pg.sql("select topic, partition, next_offset from identity.sync_offsets where owner like %s", f'%-{pid}-%')
    return {(t, p): n for t, p, n in owned}


def zombie(run, rng):
    """A sink stands still between deciding and writing, others take over and go on, and then it goes on, too."""
    w, sink = run.world, run.world.sinks[0]
    sink.kill()
    sink.env = {'LOCKSTEP_FAILPOINT': 'pg.before_apply:stop:4'}
    sink.start()
    until(lambda: sink.alive and state_of(sink.pid) == 'T', 60, 'the sink to stand still')
    held = marks_of(run, sink.pid)
    until(lambda: not marks_of(run, sink.pid), 60, 'the others to take over', every=0.3)
    taken = {at: n for at, n in w.oracle.marks().items() if at in held}
    until(lambda: all(w.oracle.marks()[at] > n or w.oracle.reader.ends(at[0])[at[1]] <= max(n, 0) for at, n in taken.items()), 120, 'the others to go on', every=0.3)
    sink.kill(signal.SIGCONT)
    rest(run, 4)
    sink.kill()
    sink.env = {}
    sink.start()
    rest(run, 1)


def capture_dies(run, rng):
    """Capture dies right after its events are there, before it has saved how far it is."""
    w = run.world
    for point in ('capture.acked:kill:40', 'capture.acked:kill:60', 'capture.position_send:kill:4'):
        w.capture.kill()
        w.capture.env = {'LOCKSTEP_FAILPOINT': point}
        w.capture.start()
        w.restart_expected(w.capture)
        with w.expected(w.capture):
            until(lambda: not w.capture.alive, 60, point)
            w.capture.env = {}
        rest(run, 2)


def capture_dies_early(run, rng):
    """Capture dies right after its position is saved."""
    w = run.world
    for hit in (2, 3, 4, 2, 3):
        w.capture.kill()
        w.capture.env = {'LOCKSTEP_FAILPOINT': f'capture.position_acked:kill:{hit}'}
        w.restart_expected(w.capture)
        with w.expected(w.capture):
            w.capture.start()
            until(lambda: not w.capture.alive, 60, 'capture to die')
            w.capture.env = {}
        rest(run, 0.5)


def refused_often(run, rng):
    """Sessions end while they write contacts, again and again."""
    w = run.world
    waiting = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'lockstep' and wait_event_type = 'Lock'"
    for _ in range(8):
        with w.destination_pg.connect(autocommit=False) as c:
            c.execute('lock table contacts in exclusive mode')
            rest(run, 0.5)
            until(lambda: w.destination_pg.sql(waiting)[0][0], 60, 'a sink that writes contacts')
        rest(run, 0.5)


def letters(process):
    with open(process.log_path, errors='replace') as f:
        return f.read().count('msg="dead letter"')


def sinks_die(run, rng):
    """A sink dies when the mark has just passed poison."""
    sinks = run.world.sinks
    for _ in range(4):
        marks, before = sum(run.world.oracle.marks().values()), [letters(s) for s in sinks]
        until(lambda: any(letters(s) > b for s, b in zip(sinks, before)), 60, 'a dead letter', every=0.01)
        until(lambda: sum(run.world.oracle.marks().values()) > marks, 60, 'the mark to pass it', every=0.01)
        for sink in sinks:
            sink.kill()
        for sink in sinks:
            sink.start()


# ---- what is done at the source ----

def notes_then_stage(rng, worker):
    """A large value, and at once a change that leaves it alone."""
    out = []
    for _ in range(3):
        i = rng.randrange(1, CONTACTS)
        out += [f'update contacts set notes = {blob(rng)} where id = {i}', f"update contacts set stage = '{text(rng)}' where id = {i}"]
    return out, False


def come_and_go(rng, worker):
    """The same few contacts again and again."""
    i = own(rng, worker, 40)
    kind = rng.random()
    if kind < 0.4:
        return [f'delete from contacts where id = {i}'], False
    if kind < 0.7:
        return [f"insert into contacts (id, name) values ({i}, '{text(rng)}') on conflict do nothing"], False
    return [f"update contacts set stage = '{text(rng)}' where id = {i}"], False


def many_rows(rng, worker):
    return [f"update orders set note = '{text(rng)}'"], False


OFFSETS = {'destinations': 'offsets'}
SCENES = {
    'mark.unchecked': Scene('offsets', zombie, OFFSETS, {}),
    'state.first': Scene('rows', refused_often, {}, {'make': notes_then_stage, 'pace': 0.05}),
    'lsn.early': Scene('commit', capture_dies_early, {'kafka': {'batch.num.messages': 10}}, {'make': many_rows, 'pace': 0.5}),
    'version.ignored': Scene('older', capture_dies, OFFSETS, {'make': come_and_go, 'pace': 0.01}),
    'delete.forgets': Scene('resurrect', capture_dies, OFFSETS, {'make': come_and_go, 'pace': 0.01}),
    'absent.null': Scene('rows', nothing, {}, {'make': notes_then_stage, 'pace': 0.05}),
    'letter.unacked': Scene('letters', sinks_die, {'kafka': {'linger.ms': 1500}}, {'poison_every': 0.1}),
}
# What only shows between two databases kept in step both ways has its judge there: tests/support/two_way_oracle.py.
TWO_WAY = {'base.frozen', 'clock.alone', 'conflict.by_version', 'origin.none'}


def in_the_code():
    """The mutants of the code."""
    found = set()
    for wing in ('shared', 'producer', 'consumer'):
        for file in glob.glob(f'{ROOT}/{wing}/**/*.c', recursive=True):
            with open(file) as f:
                found |= set(re.findall(r'LS_MUTANT\("([^"]+)"\)', f.read()))
    return found - TWO_WAY


class Stage:
    """The servers, from scene to scene."""

    def __init__(self, args):
        self.args, self.last = args, None

    def play(self, name, mutant=True):
        scene, args = SCENES[name], self.args
        place = f'{args.dir}/{name if mutant else name + "-control"}'
        settings = dict(scene.settings)
        ledger = settings.pop('destinations', 'full')
        with open(f'{place}.log', 'w') as out:
            run = Run(place, args.bin, args.seed, sinks=2, proxies=False, settings=settings, ledger=ledger, out=out, after=self.last,
                      env={'LOCKSTEP_MUTANT': name} if mutant else {}, **{'ddl': False, 'quiet': False, **scene.options})
            self.last = run.world
            try:
                run.begin()
                run.world.workload.start()
                scene.play(run, random.Random(f'{args.seed}-{name}'))
                run.world.workload.stop()
                run.faults.last_end = time.monotonic()
                run.judge()
            except Exception as e:
                run.problems.append(f'{type(e).__name__}: {e}')
                traceback.print_exc(file=out)
            finally:
                run.world.end_processes()
            json.dump(run.result(), out, indent=1)
        return run.result()

    def close(self):
        if self.last:
            self.last.down()


def arguments():
    parser = argparse.ArgumentParser(prog='tests/chaos/mutants', description=__doc__)
    parser.add_argument('names', nargs='*', help='only these')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--control', action='store_true', help='the same without the mutant, too: the judge has to be silent')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--bin', default=os.environ.get('LS_MUTANTS_BIN') or f'{ROOT}/build/mutants/lockstep')
    parser.add_argument('--dir', default=f'{ROOT}/build/tests/mutants')
    return parser.parse_args()


def tell(args, name, mutant, result, took):
    """Prints what came of a scene; True when it is what had to come."""
    kinds, expected = result['kinds'], SCENES[name].expected
    right = not result['problems'] and (expected in kinds if mutant else not kinds)
    said = ', '.join(f'{count} {kind}' for kind, count in kinds.items()) or 'nothing'
    wanted = '' if right else f'; expected {expected if mutant else "nothing"}'
    print(f"{'ok  ' if right else 'FAIL'}  {name}{'' if mutant else ' left out'}: the judge says {said}{wanted}  {took:.0f} s", flush=True)
    for problem in result['problems']:
        print(f'      {problem}')
    if not right:
        print(f'      {args.dir}/{name}.log')
    return right


def main():
    args = arguments()
    if args.list:
        print('\n'.join(f'{n}: {s.expected}' for n, s in SCENES.items()))
        return
    on_signals()
    os.makedirs(args.dir, exist_ok=True)
    stage, good, bad = Stage(args), 0, 0
    for name in sorted(in_the_code() ^ SCENES.keys()):
        print(f'FAIL  {name}: {"no scene shows it" if name not in SCENES else "not in the code"}')
        bad += 1
    try:
        for name in args.names or SCENES:
            for mutant in (True, False) if args.control else (True,):
                began = time.monotonic()
                right = tell(args, name, mutant, stage.play(name, mutant), time.monotonic() - began)
                good, bad = good + right, bad + (not right)
    finally:
        stage.close()
    print(f'{good} passed, {bad} failed, 0 skipped')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
