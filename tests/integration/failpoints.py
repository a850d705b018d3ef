"""Killed, stopped, refused and delayed at every named place of the code: afterwards all is there, once.

The names are read from the code, so a new one is tried without a word here, and one that is never reached is a failure.
A history is one source, one destination and the processes between them, which go through several places one after the
other; several histories run side by side. At the end of each: both tables equal, every committed change of the source
in the topic, every event in the ledger, no row change at the destination back to an older revision or made twice, dead
letters only where poison was sent.

LS_SCALE above 1, or LS_FAILPOINTS=each: one history per place and action, at its first and third hit.
LS_FAILPOINTS=NAME[,NAME]: only these, each by itself.
"""
import concurrent.futures, glob, io, json, os, re, shutil, signal, sys, threading, time, unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import KEEP, ROOT, SCALE, SEED, World, main, wait_for

import fastavro

CALL = re.compile(r'LS_FAILPOINT(_ERROR)?\("([^"]+)"')
ACTIONS = ('kill', 'error', 'delay', 'stop')
ASKED = os.environ.get('LS_FAILPOINTS', 'each' if SCALE > 1 else '')
SESSION_S, WAL_SENDER_S = 6, 2  # after these a silent sink loses its partitions, a silent capture its connection
FIRE_S = 120
AT_ONCE = int(os.environ.get('LS_HISTORIES', 4))

# Files whose places lie before the log is read, in the order in which a first start reaches the places.
START_FILES = ('setup.c', 'begin.c', 'snapshot.c', 'schema_topic.c')
START_ORDER = ('schema.read', 'postgres.publication', 'postgres.publication_made', 'postgres.slot', 'postgres.slot_made', 'postgres.snapshot',
               'postgres.chunk_begun', 'postgres.chunk', 'postgres.chunk_settled', 'postgres.snapshot_read', 'schema.write', 'schema.written')
SECOND_MEMBER = ('sink.revoke', 'sink.revoked', 'sink.drain', 'kafka.revoke')  # reached when another sink joins
AT_THE_END = ('capture.drain',)  # reached by SIGTERM
WIPED = ('sink.restoring', 'sink.fold', 'sink.folding')  # reached where events are applied whose state is nowhere
AFTER_A_REFUSAL = ('sink.reclaim', 'sink.reclaimed')
LEDGER = ('pg.ledger', 'pg.ledger_made')
SCHEMA = ('schema.write', 'schema.written')  # reached when the table has a new column


class Place:
    def __init__(self, name, error, file):
        self.name, self.error, self.file = name, error, file
        room, base = name.split('.')[0], os.path.basename(file)
        if room == 'publish':
            self.wings = ('publish',)
        elif base in START_FILES:
            self.wings = ('start',)
        elif room in ('capture', 'postgres'):
            self.wings = ('capture',)
        elif room in ('sink', 'pg') or base == 'consumer.c':
            self.wings = ('sink',)
        else:
            self.wings = ('capture', 'sink')

    def allows(self, action):
        return self.error or action != 'error'


def places():
    found = {}
    for wing in ('producer', 'consumer', 'shared'):
        for file in sorted(glob.glob(f'{ROOT}/{wing}/**/*.c', recursive=True)):
            with open(file) as f:
                for error, name in CALL.findall(f.read()):
                    found[name] = Place(name, bool(error) or (name in found and found[name].error), file)
    return found


PLACES = places()


def of_wing(wing, action):
    names = [p.name for p in PLACES.values() if wing in p.wings and p.allows(action)]
    if ASKED and ASKED != 'each':
        names = [n for n in names if n in ASKED.split(',')]
    middle = START_ORDER.index('postgres.snapshot')
    order = {n: i for i, n in enumerate(START_ORDER)}
    return sorted(names, key=lambda n: (order.get(n, middle - 0.5), n))


class History:
    """One source, one destination, a capture, sinks, and what was seen to be reached."""

    def __init__(self, name, rows=100, wal_sender=False, partitions=6):
        self.w = w = World(f'fp-{name}')
        self.name, self.seed, self.garbage, self.giants, self.stale, self.reached = name, SEED % 1000, 0, 0, 0, []
        self.hands = threading.local()
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql("""
            alter table contacts replica identity full;
            create table history (n bigserial primary key, op text, id bigint, rev bigint);
            create function remember() returns trigger language plpgsql as $$ begin
                if tg_op = 'DELETE' or (tg_op = 'UPDATE' and new.id <> old.id) then insert into history (op, id, rev) values ('DELETE', old.id, old.rev); end if;
                if tg_op <> 'DELETE' then insert into history (op, id, rev) values ('WRITE', new.id, new.rev); end if;
                return null; end $$;
            create trigger remember after insert or update or delete on contacts for each row execute function remember()""")
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        w.source.sql(f'call fill({rows})')
        url = w.source.url + (f'?options=-c%20wal_sender_timeout%3D{WAL_SENDER_S}s' if wal_sender else '')
        w.configure(kafka={'bootstrap.servers': w.kafka, 'session.timeout.ms': SESSION_S * 1000, 'heartbeat.interval.ms': 1000},
                    partitions=partitions, max_event_bytes=65536, sources=[
                        {'name': 'crm', 'type': 'postgres', 'url': url, 'snapshot_chunk_rows': 40, 'heartbeat_interval': '1s', 'wal_status_interval': '1s',
                         'tables': [{'table': 'public.contacts', 'entity': 'contact'}]}])
        self.starts, self.rereads = 0, False

    # ---- processes ----

    def start(self, wing, *armed, name=None, instance=None):
        env = {'LOCKSTEP_FAILPOINT': ','.join(armed)} if armed else None
        process = self.w.start(wing, name=name or wing, instance=instance, env=env)
        process.armed, process.since = armed, os.path.getsize(process.log)
        self.starts += 1
        return process

    @staticmethod
    def text(process):
        with open(process.log, errors='replace') as f:
            f.seek(process.since)
            return f.read()

    def said(self, process, armed):
        """True when the process has said that it reached the place."""
        return f'failpoint {":".join(armed.split("=")[0].split(":")[:2])} at hit' in self.text(process)

    def unreached(self, process):
        return [a for a in process.armed if not self.said(process, a)]

    # ---- what happens at the source ----

    def work(self, n=20):
        self.seed += 7
        self.w.source.sql(f'call work({n}, {self.seed % 1000 / 1000}, 20)')

    def poison(self):
        """An event that no sink can read; it becomes a dead letter. One per partition, so that any sink gets one."""
        producer = self.w.producer()
        for p in range(self.w.settings['topics']['partitions']):
            producer.produce(self.w.topic(), key=f'garbage {self.garbage}', value=b'no event', partition=p)
            self.garbage += 1
        producer.flush(30)

    def giant(self):
        """A row that no event takes; it becomes a dead letter of the source."""
        self.giants += 1
        self.w.source.sql(f"insert into contacts (id, name, notes) values (-{self.giants}, 'giant', repeat('x', 100000))")

    def conflict(self):
        """A change of another source, older than what there is: every sink reports it."""
        self.stale += 1
        ids = [i for i, in self.w.source.sql('select id from contacts where id > 0 order by id limit 24')]
        lines = [json.dumps({'entity': 'contact', 'id': str(i), 'source': 'elsewhere', 'type': 'UPDATE', 'version': self.stale, 'timestamp': self.stale,
                             'event_id': f'stale-{self.stale}-{i}', 'data': {'id': i, 'name': 'older', 'rev': 0}}) for i in ids]
        self.w.run('publish', input='\n'.join(lines) + '\n')

    def provoke(self, names):
        """What makes places reachable that the work alone does not reach."""
        if any('dead' in n and n.startswith('sink') for n in names):
            self.poison()
        if any('dead' in n and n.startswith('capture') for n in names):
            self.giant()
        if any('conflict' in n for n in names):
            self.conflict()

    def prepare(self, names, state, name):
        """Before the process starts."""
        if any(n in WIPED for n in names) and 'sink' in name:
            for place in ('sink.marker_acked:kill:1', 'sink.applied:kill:2'):
                first = self.start('sink', place, name=name, instance=name)
                wait_for(lambda p=first: p.ended() or self.work(), FIRE_S, f'a sink to die at {place}', every=0.2)
            shutil.rmtree(state, ignore_errors=True)
        if any(n in LEDGER for n in names):
            self.w.destination.sql('drop table if exists identity.sync_change_log')
        if any(n in SCHEMA for n in names):
            for db in (self.w.destination, self.w.source):
                db.sql(f'alter table contacts add column extra_{self.starts} int')

    @staticmethod
    def armed(names, action, hit=1):
        out = [f'{n}:{action}:{hit}' for n in names]
        if any(n in AFTER_A_REFUSAL for n in names):
            out.append('pg.before_apply:error:1')
        return out

    # ---- one process through some places ----

    def go(self, wing, names, action, hit=1, last=None):
        """Starts a process with the places armed and waits until it has reached all of them. last: where it is killed, before it goes further."""
        what = f'{wing} at {", ".join(names)}: {action}:{hit}'
        kind = 'capture' if wing in ('capture', 'start') else 'sink'
        self.prepare(names, f'{self.w.dir}/state-{kind}', kind)
        process = self.start(kind, *self.armed(names, 'delay=100' if action == 'delay' else action, hit), *([f'{last}:kill'] if last else []), instance=kind)
        self.provoke(names)
        other = None
        if any(n in SECOND_MEMBER for n in names):
            wait_for(lambda: 'partitions assigned' in self.text(process), FIRE_S, f'{what}: partitions', alive=[process])
            other = self.start('sink', name='sink-other')
        self.wait(process, names, 'kill' if last else action, what)
        if other:
            self.end(other, what)
        self.reached += [(n, action) for n in names]
        return process

    def wait(self, process, names, action, what):
        asked, told, resumed, rounds = [], time.monotonic(), 0.0, 0
        limit = FIRE_S + (4 * len(names) if action == 'stop' else 0)
        while self.unreached(process):
            if time.monotonic() - told > limit:
                raise AssertionError(f'{what}: never reached {self.unreached(process)}\n{process.tail()}')
            if process.ended():
                break
            left = self.unreached(process)
            if action == 'stop' and self.is_stopped(process):
                self.resume(process)
            elif all(a.split(':')[0] in AT_THE_END for a in left) and not asked:
                if 'capture started' in self.text(process):
                    asked.append(process.popen.send_signal(signal.SIGTERM))
            elif not asked:
                rounds += 1
                self.work(10)
                if rounds % 20 == 0:
                    self.provoke([a.split(':')[0] for a in left])
            time.sleep(0.15)
        if action == 'kill':
            wait_for(process.ended, 30, f'{what}: the process to die')
            if process.popen.returncode != -signal.SIGKILL or self.unreached(process):
                raise AssertionError(f'{what}: ended with {process.popen.returncode}, not reached: {self.unreached(process)}\n{process.tail()}')
        elif self.unreached(process):
            raise AssertionError(f'{what}: ended with {process.popen.returncode} before it reached {self.unreached(process)}\n{process.tail()}')
        if action == 'stop':
            wait_for(lambda: self.is_stopped(process), 30, f'{what}: the process to stop')
            self.resume(process)
        if asked and action != 'kill' and process.popen.wait(60):
            raise AssertionError(f'{what}: ended with {process.popen.returncode}\n{process.tail()}')
        self.work(20)

    @staticmethod
    def is_stopped(process):
        with open(f'/proc/{process.popen.pid}/stat') as f:
            return f.read().rsplit(')', 1)[1].split()[0] == 'T'

    def resume(self, process):
        """Goes on after the time in which the server has given the process up."""
        self.work(20)
        time.sleep(WAL_SENDER_S + 1.2 if 'capture' in process.name else SESSION_S + 1)
        process.popen.send_signal(signal.SIGCONT)

    def end(self, process, what):
        if process.popen.returncode == -signal.SIGKILL:
            return
        if not process.ended():
            code = process.stop(40)
            if code:
                raise AssertionError(f'{what}: ended with {code}\n{process.tail()}')

    # ---- what must hold ----

    def right(self, what):
        w = self.w
        alive = [p for p in w.processes if not p.ended()]
        wait_for(w.captured(), 120, f'{what}: capture to confirm all that was written', alive=alive)
        wait_for(lambda: w.caught_up() and w.same_but_giants() is None, 120, f'{what}: equal tables', every=0.3, alive=alive)
        self.once(what)
        events = self.complete(what)
        dead = [m for m in w.dead()]
        assert len(dead) == self.garbage, f'{what}: {len(dead)} dead letters of the sink, {self.garbage} poison events'
        ids = {e['event_id'] for e in events}
        processed = w.destination.one("select count(*) from identity.sync_processed_events where status <> 'passed'")
        # Rows that a snapshot read twice are duplicates of the first reading, which the ledger need not hold.
        assert processed == len(ids) or (self.rereads and processed < len(ids)), f'{what}: {processed} processed events in the ledger, {len(ids)} distinct events in the topic'

    def once(self, what):
        """No row change at the destination goes back to an older revision, or is made twice."""
        wrong, last = [], {}
        for n, op, key, old, new in self.w.destination.sql("select n, op, key, (old ->> 'rev')::bigint, (new ->> 'rev')::bigint from audit order by n"):
            if op == 'DELETE':
                if old < last.get(key, 0):
                    wrong.append(f'change {n}: {key} deleted at rev {old} after rev {last[key]}')
                continue
            if new <= last.get(key, 0):
                wrong.append(f'change {n}: {op} of {key} from rev {old} to {new} after rev {last.get(key)}')
            last[key] = max(new, last.get(key, 0))
        assert not wrong, f'{what}: {len(wrong)} row changes went back or came twice: {wrong[:10]}'

    def complete(self, what):
        """Every committed change of the source is an event, and what was too large is a dead letter of the source."""
        events = self.readable()
        writes = {(e['entity_id'], e['after']['rev']) for e in events if e['after'] and e['source'] == 'crm'}
        deletes = {e['entity_id'] for e in events if e['change_type'] == 'DELETE'}
        missing = []
        for op, i, rev in self.w.source.sql('select op, id, rev from history where id > 0'):
            if op == 'WRITE' and (str(i), rev) not in writes and not self.behind_the_snapshot(rev):
                missing.append(f'contact {i} at rev {rev}')
            if op == 'DELETE' and str(i) not in deletes and not self.behind_the_snapshot(rev):
                missing.append(f'contact {i} deleted at rev {rev}')
        assert not missing, f'{what}: {len(missing)} committed changes are in no event: {missing[:10]}'
        if self.giants:
            dead = {dict(m.headers())['lockstep.key'].decode() for m in self.w.dead(source='crm')}
            assert {f'-{i + 1}' for i in range(self.giants)} <= dead, f'{what}: dead letters of the source are {dead}, {self.giants} rows were too large'
        return events

    def behind_the_snapshot(self, rev):
        """What was changed again before the snapshot read it never was a row that anybody saw."""
        return rev <= self.first_rev

    def mark_start(self):
        """From here on every change has to be an event: the slot stands."""
        self.first_rev = self.w.source.one('select coalesce(max(rev), 0) from contacts')

    def readable(self):
        schemas, out = self.w.schemas(), []
        for m in self.w.read(self.w.topic()):
            if m.value() != b'no event':
                out.append(fastavro.schemaless_reader(io.BytesIO(m.value()[10:]), schemas[m.value()[2:10].hex()]))
        return out

    def close(self, failed):
        w = self.w
        for p in w.processes:
            if not p.ended():
                p.popen.send_signal(signal.SIGCONT)
        w.close()
        reports = w.sanitizers()
        assert not reports, 'a sanitizer reports:\n' + '\n'.join(reports)
        if not failed and not KEEP:
            shutil.rmtree(w.dir, ignore_errors=True)


def same_but_giants(w):
    """World.same without the rows that are dead letters of the source."""
    columns = ', '.join(w.source.columns('contacts'))
    rows = [set(db.sql(f'select ({columns})::text from contacts where id > 0')) for db in (w.source, w.destination)]
    return None if rows[0] == rows[1] else f'{len(rows[0] - rows[1])} rows only in the source, {len(rows[1] - rows[0])} only in the destination'


World.same_but_giants = same_but_giants


# ---- the histories ----

def batches(names, size):
    """Parts of at most `size`, as equal as they can be; what is reached by the end of a process is by itself."""
    alone = [[n] for n in names if n in AT_THE_END]
    names = [n for n in names if n not in AT_THE_END]
    count = -(-len(names) // size) or 1
    return [names[i::count] for i in range(count) if names[i::count]] + alone


def steps(wing, action, names, size):
    """[(names that one process goes through, where it is killed then)]. A first start is gone through in its order."""
    if action == 'kill':
        return [([n], None) for n in names]
    if wing == 'start' and action == 'error' and 'postgres.chunk_begun' in names:
        rows = names.index('postgres.chunk_begun')
        return [(names[i:min(i + 3, rows)], names[min(i + 3, rows)]) for i in range(0, rows, 3)] + [(names[rows:], None)]
    return [(part, None) for part in batches(names, size)]


def through(h, wing, action, names, size, hit=1):
    """One process after the other, each through its part of the places; the last one ends by itself or by a stop."""
    other = 'sink' if wing in ('capture', 'start') else 'capture'
    process = None
    h.mark_start()
    mate = h.start(other, instance=other)
    if wing != 'start' and not h.w.listening():
        wait_for(lambda: h.w.listening() if other == 'capture' else True, 60, 'the log to be read', alive=[mate])
    if wing == 'capture':
        first = h.start('capture', instance='capture')  # past the first snapshot, whose places have a history of their own
        wait_for(h.w.listening, 60, 'the log to be read', alive=[first])
        h.end(first, 'the first capture')
        h.mark_start()
    for part, last in steps(wing, action, names, size):
        if process:
            h.end(process, f'{wing} after {action}')
        process = h.go(wing, part, action, hit, last)
    if process.ended():
        process = h.start('capture' if wing in ('capture', 'start') else 'sink', instance='capture' if wing in ('capture', 'start') else 'sink')
    what = f'{wing} {action} at {", ".join(names)}'
    wait_for(h.w.listening, 60, 'the log to be read', alive=[process, mate])
    if wing == 'start':
        h.rereads = True
        h.mark_start()  # before the slot stood a change could be made and made again unseen
    h.work(30)
    h.right(what)
    for p in (process, mate):
        h.end(p, what)


def zombies(h, names):
    """Sinks of one group stop at their places for longer than their session; another one takes over. Continued, they write nothing."""
    h.mark_start()
    capture = h.start('capture', instance='capture')
    base = h.start('sink', name='sink-base')
    wait_for(h.w.listening, 60, 'the log to be read', alive=[capture])
    for part in batches(names, 4):
        stopped = []
        for i, n in enumerate(sorted(part, key=lambda n: n not in LEDGER)):
            name = f'sink-{i}'
            h.prepare([n], f'{h.w.dir}/state-{name}', name)
            stopped.append(h.start('sink', *h.armed([n], 'stop'), name=name))
            if n in LEDGER:  # before another sink makes the ledger
                wait_for(lambda p=stopped[-1]: h.is_stopped(p), FIRE_S, f'a sink to stop at {n}', alive=stopped)
        rounds = 0
        since, down = time.monotonic(), {}
        while len(down) < len(part):
            for p in stopped:
                if p.ended():
                    raise AssertionError(f'{p.armed}: ended with {p.popen.returncode}\n{p.tail()}')
                if p not in down and h.is_stopped(p):
                    down[p] = time.monotonic()
            if time.monotonic() - since > FIRE_S:
                raise AssertionError(f'zombies: never reached: {[(p.armed, p.tail()) for p in stopped if p not in down]}')
            if rounds % 10 == 0:
                h.provoke([p.armed[0].split(':')[0] for p in stopped if p not in down])
            rounds += 1
            h.work(20)
            time.sleep(0.2)
        time.sleep(max(0.0, max(down.values()) + SESSION_S + 0.5 - time.monotonic()))
        h.work(60)
        wait_for(h.w.caught_up, 90, f'another sink to take over from those stopped at {part}', every=0.3, alive=[base, capture])
        for p in stopped:
            p.popen.send_signal(signal.SIGCONT)
        h.work(60)
        wait_for(h.w.caught_up, 90, f'the sinks after those stopped at {part} went on', every=0.3, alive=[base, capture])
        for p in stopped:
            h.end(p, f'stopped at {part}')
        h.reached += [(n, 'stop') for n in part]
    h.right(f'sinks stopped at {", ".join(names)}')
    for p in (base, capture):
        h.end(p, 'zombies')


def published(h, names):
    """`lockstep publish` dies, fails or waits at its places; the same lines again, and each takes effect once."""
    w = h.w
    h.mark_start()
    w.run('topics', 'create')
    sink = h.start('sink', instance='sink')
    lines, told = [], set()
    for n in names:
        for action in ACTIONS:
            if not PLACES[n].allows(action):
                continue
            start = len(lines)
            lines += [json.dumps({'entity': 'contact', 'id': str(9000000 + i), 'source': 'script', 'type': 'INSERT', 'version': i + 1, 'event_id': f'script-{i}',
                                  'data': {'id': 9000000 + i, 'name': f'Published {i}', 'rev': i + 1}}) for i in range(start, start + 8)]
            told |= publish_once(w, lines[start:], f'{n}:{"delay=100" if action == "delay" else action}:4', action)
            told |= publish_once(w, lines[start:], None, None)
            h.reached.append((n, action))
    assert told == {f'script-{i}' for i in range(len(lines))}, f'acknowledged to the caller: {sorted(told)}'
    wait_for(h.w.caught_up, 60, 'the sink to apply what was published', alive=[sink])
    rows = w.destination.sql("select id, count(*) from (select (new ->> 'id')::bigint id from audit) a group by id order by id")
    assert rows == [(9000000 + i, 1) for i in range(len(lines))], f'row changes per published contact: {rows}'
    assert not w.dead(), 'dead letters'
    h.end(sink, 'publish')


def publish_once(w, lines, armed, action):
    import subprocess

    from lockstep_test import BIN
    env = {**os.environ, **({'LOCKSTEP_FAILPOINT': armed} if armed else {})}
    p = subprocess.Popen([BIN, '-c', w.config_file, 'publish', '--json'], env=env, cwd=w.dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdin.write(('\n'.join(lines) + '\n').encode())
    p.stdin.close()
    if action == 'stop':
        wait_for(lambda: open(f'/proc/{p.pid}/stat').read().rsplit(')', 1)[1].split()[0] == 'T', 60, f'publish to stop at {armed}')
        time.sleep(1)
        p.send_signal(signal.SIGCONT)
    out, err = p.stdout.read().decode(), p.stderr.read().decode()
    p.wait(60)
    expected = {'kill': (-signal.SIGKILL,), 'error': (1, 5)}.get(action, (0,))
    assert p.returncode in expected, f'publish at {armed} ended with {p.returncode}, expected {expected}\n{out}\n{err}'
    assert not armed or f'failpoint {armed.split(":")[0]}:' in err, f'publish never reached {armed}\n{err}'
    return {json.loads(line)['event_id'] for line in out.splitlines() if 'event_id' in line}


# ---- which histories there are ----

def plan():
    """[(title, wing, action, names, function of a History)]"""
    out = []

    def add(wing, action, names, parts, run, **more):
        for i, part in enumerate(split(names, parts)):
            title = f'{wing}_{ {"kill": "killed", "error": "refused", "delay": "delayed", "stop": "stopped"}[action]}'
            out.append((title + (f'_{i + 1}' if len(split(names, parts)) > 1 else ''), wing, action, part, run, more))

    def split(names, parts):
        if ASKED:
            return [[n] for n in names]
        return [p for p in (names[len(names) * i // parts:len(names) * (i + 1) // parts] for i in range(parts)) if p]

    hits = (1, 3) if ASKED == 'each' else (1,)
    add('sink', 'stop', of_wing('sink', 'stop'), 3, lambda h, names: zombies(h, names))
    for hit in hits:
        for wing, rows in (('capture', 100), ('sink', 100), ('start', 400)):
            for action, parts, size in (('kill', 2 if wing != 'start' else 1, 1), ('error', 1, 4), ('stop', 2 if wing == 'capture' else 1, 4 if wing == 'capture' else 60),
                                        ('delay', 1, 60)):
                if (wing, action) == ('sink', 'stop') or (hit == 3 and action in ('delay', 'stop')):
                    continue
                add(wing, action, of_wing(wing, action), parts, lambda h, names, wing=wing, action=action, size=size, hit=hit: through(
                    h, wing, action, names, size, hit if wing != 'start' else 1), rows=rows, wal_sender=action == 'stop')
    names = of_wing('publish', 'kill')
    if names:
        out.append(('publish_at_each_of_its_places', 'publish', 'kill', names, published, {'rows': 0}))
    return out


POOL = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
SEEN = {}


def run(title, names, function, more):
    h = History(title, **more)
    failed = True
    try:
        function(h, names)
        failed = False
    except BaseException as e:
        print(f'{title}: {e}'[:6000], file=sys.stderr, flush=True)
        raise
    finally:
        try:
            h.close(failed)
        finally:
            if failed:
                print(f'logs: {h.w.dir}', file=sys.stderr, flush=True)
    return h.reached


class Failpoints(unittest.TestCase):
    def test_zz_every_place_was_reached_with_every_action(self):
        want = {(p.name, a) for p in PLACES.values() for a in ACTIONS if p.allows(a)}
        if ASKED and ASKED != 'each' or len(sys.argv) > 1:
            self.skipTest('only some were asked for')
        got = {pair for reached in SEEN.values() for pair in reached}
        self.assertEqual(sorted(want - got), [], 'never reached')
        print(f'{len(PLACES)} places, {len(want)} pairs of place and action', flush=True)


def test_of(title):
    def test(self):
        SEEN[title] = FUTURES[title].result()
    return test


FUTURES = {}
for title, wing, action, names, function, more in plan():
    while title in FUTURES:
        title += '_again'
    if len(sys.argv) < 2 or any(part in f'test_{title}' for part in sys.argv[1:]):
        FUTURES[title] = POOL.submit(run, title, names, function, more)
        setattr(Failpoints, f'test_{title}', test_of(title))

main()
