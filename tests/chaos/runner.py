"""One chaos run, or one after the other: see `tests/chaos/run --help` and docs/testing.md."""
import argparse, collections, importlib, json, os, pkgutil, random, shutil, signal, subprocess, sys, threading, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, f'{HERE}/faults']
import oracle
from oracle import Oracle
from servers import ROOT, until
from tables import ENTITIES, make_destination, make_source
from workload import Workload
from world import World

SETTLE = 3       # seconds from the start of the work to the first fault
GAP = 4.0        # mean seconds between the beginnings of two faults
AT_ONCE = 3      # faults that may be there at one time
SANITIZERS = ('ERROR: AddressSanitizer', 'ERROR: LeakSanitizer', 'ThreadSanitizer', 'runtime error:')


def all_faults():
    """{name: fault} of every module of tests/chaos/faults."""
    found = {}
    for module in sorted(m.name for m in pkgutil.iter_modules([f'{HERE}/faults'])):
        for fault in getattr(importlib.import_module(module), 'FAULTS', []):
            found[fault.name] = fault
    return found


def plan(faults, seed, seconds, gap):
    """[(second, fault, seed of its own)]: a function of its arguments alone."""
    rng, at, out = random.Random(f'{seed}-faults'), float(SETTLE), []
    chosen = sorted(faults, key=lambda f: f.name)
    while chosen and at < seconds:
        fault = rng.choices(chosen, [f.weight for f in chosen])[0]
        out.append((at, fault, f'{seed}-{len(out)}-{fault.name}'))
        at += 0.3 + rng.expovariate(1 / gap)
    return out


class Faults:
    """Carries the plan out: each fault in a thread of its own, a few at a time, and all of them ended at the end."""

    def __init__(self, world, schedule):
        self.world, self.schedule, self.threads = world, schedule, []
        self.room = threading.Semaphore(AT_ONCE)
        self.counts, self.problems, self.last_end = collections.Counter(), [], time.monotonic()

    def one(self, fault, seed):
        began = time.monotonic()
        try:
            heal = fault.inject(self.world, random.Random(seed))
            if callable(heal):
                heal()
        except Exception as e:
            self.problems.append(f'{fault.name}: {type(e).__name__}: {e}')
            self.world.note(f'fault {fault.name} broke: {traceback.format_exc(limit=-3)}')
        finally:
            self.last_end = time.monotonic()
            self.world.note(f'fault {fault.name} over after {self.last_end - began:.1f} s')
            self.room.release()

    def run(self, seconds):
        end, began = time.monotonic() + seconds, time.monotonic()
        for at, fault, seed in self.schedule:
            while time.monotonic() < began + at or not self.room.acquire(blocking=False):
                self.world.look_after()
                if time.monotonic() >= end:
                    break
                time.sleep(0.05)
            else:
                self.counts[fault.name] += 1
                self.world.note(f'fault {fault.name}')
                thread = threading.Thread(target=self.one, args=(fault, seed), daemon=True)
                self.threads.append(thread)
                thread.start()
                continue
            break
        while time.monotonic() < end:
            self.world.look_after()
            time.sleep(0.1)

    def finish(self):
        self.world.stopping.set()
        end = time.monotonic() + 120
        while any(t.is_alive() for t in self.threads) and time.monotonic() < end:
            self.world.look_after()
            time.sleep(0.1)
        if any(t.is_alive() for t in self.threads):
            self.problems.append('a fault did not end within 120 s')


class Run:
    """begin(), work(seconds, faults), end() -> result. Other programs use it with settings of their own."""

    def __init__(self, directory, binary, seed, sinks=3, proxies=True, without=(), settings=None, ledger='full', after=None, out=sys.stdout,
                 env=None, **workload):
        shutil.rmtree(directory, ignore_errors=True)
        self.world = World(directory, binary, ENTITIES, settings or {}, sinks=sinks, proxies=proxies, ledger=ledger, after=after, out=out)
        self.world.env.update(env or {})
        self.seed, self.without, self.options = seed, without, workload
        self.faults, self.problems = Faults(self.world, []), []

    def begin(self):
        w = self.world
        w.up()
        make_source(w.source_pg)
        make_destination(w.destination_pg, self.without)
        done = subprocess.run([w.binary, '-c', w.capture.config, 'topics', 'create'], capture_output=True, text=True, timeout=120, env={**os.environ, **w.env})
        if done.returncode:
            raise RuntimeError(f'topics create: {done.stdout}{done.stderr}')
        w.oracle, w.workload = Oracle(w), Workload(w, self.seed, **self.options)
        w.oracle.begin()
        w.capture.start()
        w.sinks[0].start()
        until(self.ledger, 120, 'the ledger tables')
        w.oracle.watch_ledger()
        for sink in w.sinks:
            sink.start()
        until(self.streaming, 120, 'capture to read the log')
        w.began = time.monotonic()

    def ledger(self):
        self.world.look_after()
        return self.world.destination_pg.sql("select to_regclass('identity.sync_offsets') is not null and to_regclass('identity.sync_waiting') is not null")[0][0]

    def streaming(self):
        self.world.look_after()
        return self.world.source_pg.sql("select 1 from pg_stat_replication where state in ('streaming', 'catchup')")

    def work(self, seconds, schedule):
        w = self.world
        w.workload.start()
        self.faults = Faults(w, schedule)
        self.faults.run(seconds)
        self.faults.finish()
        w.workload.stop()
        self.faults.last_end = time.monotonic()
        w.note('the work and the faults are over')

    def judge(self):
        w = self.world
        for sink in w.sinks:
            sink.start()
        w.capture.start()
        w.oracle.judge(self.faults.last_end)
        for process in (*w.sinks, w.capture):
            process.stop()
        self.sanitizers()

    def sanitizers(self):
        for process in (self.world.capture, *self.world.sinks, *self.world.left):
            with open(process.log_path, errors='replace') as f:
                for line in f:
                    if any(s in line for s in SANITIZERS):
                        self.world.violation('sanitizer', f'{process.name}: {line.strip()[:300]}, see {process.log_path}')

    def forget(self):
        shutil.rmtree(self.world.dir, ignore_errors=True)

    def result(self):
        w = self.world
        kinds = collections.Counter(kind for kind, _ in w.violations)
        work = w.workload
        return {'seed': self.seed, 'faults': dict(sorted(self.faults.counts.items())), 'violations': sum(kinds.values()), 'kinds': dict(kinds),
                'examples': [f'{k}: {t}' for k, t in w.violations[:40]], 'exits': len(w.exits), 'figures': getattr(w.oracle, 'figures', {}),
                'unknown_commits': work.unknown if work else 0, 'schema_changes': work.schema_changes if work else 0,
                'problems': [*self.problems, *self.faults.problems, *(work.problems if work else [])], 'seconds': round(w.elapsed())}


def print_result(r, out):
    f = r['figures']
    print(f"\nseed {r['seed']}  {r['seconds']} s", file=out)
    for name, count in r['faults'].items():
        print(f'  {count:5d}  {name}', file=out)
    print(f"  {sum(r['faults'].values()):5d}  faults in all", file=out)
    for name, text in (('commits', 'transactions committed'), ('changes', 'row changes at the source'), ('events', 'events'), ('repeated', 'of them repeated'),
                       ('effective', 'row changes at the destination'), ('rows', 'rows compared'), ('states', 'version states'), ('marks', 'moves of marks'),
                       ('poison', 'poison sent'), ('letters', 'dead letters'), ('lag_seconds', 'seconds until the lag was zero')):
        print(f'  {f.get(name, "-")!s:>9}  {text}', file=out)
    print(f"  {r['schema_changes']:9d}  schema changes\n  {r['unknown_commits']:9d}  commits without an answer\n  {r['exits']:9d}  processes that ended by themselves", file=out)
    for problem in r['problems']:
        print(f'  the bench itself: {problem}', file=out)
    for kind, count in r['kinds'].items():
        print(f'  {count:9d}  VIOLATIONS: {kind}', file=out)
    print(f"  {r['violations']:9d}  violations", file=out, flush=True)


def once(args, seed, out):
    directory = f'{args.dir}/seed-{seed}'
    faults = all_faults()
    if args.only:
        unknown = set(args.only.split(',')) - faults.keys() - {'none'}
        if unknown:
            sys.exit(f'no such fault: {", ".join(sorted(unknown))}; there are: {", ".join(faults)}')
        faults = {n: f for n, f in faults.items() if n in args.only.split(',')}
    for name in (args.skip or '').split(','):
        faults.pop(name, None)
    if args.no_proxy:
        faults = {n: f for n, f in faults.items() if 'proxy' not in f.needs}
    schedule = plan(faults.values(), seed, args.seconds, args.gap)
    if args.plan:
        for at, fault, _ in schedule:
            print(f'{at:7.1f}  {fault.name}')
        return {'violations': 0, 'problems': [], 'seed': seed, 'kinds': {}, 'faults': {}, 'figures': {}}
    run = Run(directory, args.bin, seed, sinks=args.sinks, proxies=not args.no_proxy, without=[w for w in args.without.split(',') if w], out=out,
              pace=args.pace, huge=2_000_000 if args.huge else 0)
    print(f'seed {seed}  {args.seconds} s  binary {args.bin}  logs {directory}', file=out, flush=True)
    try:
        run.begin()
        run.work(args.seconds, schedule)
        run.judge()
    except Exception as e:
        run.problems.append(f'{type(e).__name__}: {e}')
        traceback.print_exc(file=out)
    finally:
        run.world.down()
    result = run.result()
    print_result(result, out)
    with open(f'{directory}/result.json', 'w') as f:
        json.dump(result, f, indent=1)
    if not (args.keep or result['violations'] or result['problems']):
        shutil.rmtree(directory, ignore_errors=True)
    return result


def arguments():
    parser = argparse.ArgumentParser(prog='tests/chaos/run', description=__doc__)
    parser.add_argument('--seconds', type=int, default=60, help='how long faults are made (60)')
    parser.add_argument('--seed', type=int, default=None, help='of the work and the faults; drawn and printed without')
    parser.add_argument('--seeds', help='several runs one after the other: 1,2,..10 or 1,5,9')
    parser.add_argument('--only', help='only these faults, by name; none: no fault at all')
    parser.add_argument('--skip', help='all faults but these')
    parser.add_argument('--without', default='', help='what the destination does not have: fk, unique')
    parser.add_argument('--sinks', type=int, default=3)
    parser.add_argument('--bin', default=os.environ.get('LS_BIN', f'{ROOT}/build/dev/lockstep'))
    parser.add_argument('--dir', default=f'{ROOT}/build/tests/chaos', help='where servers and logs of the runs are')
    parser.add_argument('--gap', type=float, default=GAP, help='mean seconds between two faults (4)')
    parser.add_argument('--pace', type=float, default=0.15, help='mean seconds of rest between two transactions of each of 4 workers (0.15)')
    parser.add_argument('--lag-seconds', type=int, default=oracle.LAG_SECONDS, help='how long the lag may take after the last fault (60); more on a machine that is busy otherwise')
    parser.add_argument('--huge', action='store_true', help='with one transaction of two million rows')
    parser.add_argument('--no-proxy', action='store_true', help='connect directly, and leave out the faults that need proxies')
    parser.add_argument('--keep', action='store_true', help='leave the directory of a run without violations, too')
    parser.add_argument('--plan', action='store_true', help='only print the schedule of faults')
    parser.add_argument('--json', action='store_true', help='results as JSON on stdout, everything else on stderr')
    return parser.parse_args()


def seeds_of(args):
    if not args.seeds:
        return [args.seed if args.seed is not None else random.SystemRandom().randrange(1, 1 << 31)]
    parts, out = args.seeds.split(','), []
    for i, part in enumerate(parts):
        if part.startswith('..'):
            out += range(out[-1] + 1, int(part[2:]) + 1)
        else:
            out.append(int(part))
    return out


def on_signals():
    """An interrupted run takes its servers with it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))


def main():
    args = arguments()
    on_signals()
    out = sys.stderr if args.json else sys.stdout
    if not os.access(args.bin, os.X_OK):
        sys.exit(f'no lockstep binary at {args.bin}: build it, or name it with --bin')
    args.bin, oracle.LAG_SECONDS = os.path.abspath(args.bin), args.lag_seconds
    results = [once(args, seed, out) for seed in seeds_of(args)]
    if args.json:
        print(json.dumps(results, indent=1))
    if len(results) > 1:
        print('\nsummary', file=out)
        for r in results:
            f = r['figures']
            print(f"  seed {r['seed']}: {sum(r['faults'].values())} faults, {f.get('events', '-')} events, lag zero after {f.get('lag_seconds')} s, "
                  f"{r['violations']} violations {r['kinds'] or ''} {'; '.join(r['problems'])}", file=out)
        print(f"  {len(results)} seeds, {sum(sum(r['faults'].values()) for r in results)} faults, {sum(r['figures'].get('events', 0) for r in results)} events, "
              f"{sum(r['violations'] for r in results)} violations", file=out)
    sys.exit(1 if any(r['violations'] or r['problems'] for r in results) else 0)


if __name__ == '__main__':
    main()
