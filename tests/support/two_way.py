"""A bench of two or three databases, each both source and destination of one lockstep configuration.

Bench makes the databases (of one server, or each on a server of its own whose clock may be wrong, or behind a link that can be cut),
the configuration and the processes; Writers edit all of them at once from a seed; Judgement (two_way_oracle.py) says what is wrong.
"""
import atexit, glob, json, os, random, shutil, signal, socket, subprocess, tempfile, threading, time

import psycopg

from lockstep_test import ROOT, SEED, Database, Scenario, database_url, free_port, wait_for
from two_way_oracle import Journal, Judgement

TABLE = """create table contacts (id bigint primary key, tag text, note text, number bigint, changed bigint);
alter table contacts replica identity full"""
COLUMNS = ('id', 'tag', 'note', 'number', 'changed')


class Postgres:
    """A server of its own, whose wall clock is ahead by so many seconds (clock_ahead.c)."""

    def __init__(self, ahead=0, slots=20):
        programs = sorted(glob.glob('/usr/lib/postgresql/*/bin'), key=lambda p: float(p.split('/')[4]))[-1]
        self.dir, self.port, self.ahead = tempfile.mkdtemp(prefix='lockstep-two-way.', dir='/var/tmp'), free_port(), ahead
        self.url = f'postgresql://postgres@127.0.0.1:{self.port}'
        if os.getuid() == 0:
            shutil.chown(self.dir, 'postgres', 'postgres')
        self.log = open(f'{self.dir}/server.log', 'ab')
        subprocess.run(self.command(f'{programs}/initdb', '-D', f'{self.dir}/data', '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8',
                                    '--no-sync'), cwd='/', stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, check=True, timeout=120)
        settings = {'listen_addresses': '127.0.0.1', 'port': self.port, 'unix_socket_directories': self.dir, 'wal_level': 'logical', 'fsync': 'off',
                    'track_commit_timestamp': 'on', 'timezone': 'UTC', 'deadlock_timeout': '200ms', 'max_wal_senders': 20,
                    'max_replication_slots': slots}
        with open(f'{self.dir}/data/postgresql.conf', 'a') as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        clock = ['env', f'LD_PRELOAD={self.shim()}', f'CLOCK_AHEAD={ahead}'] if ahead else []
        self.popen = subprocess.Popen(self.command(*clock, f'{programs}/postgres', '-D', f'{self.dir}/data'), cwd='/', stdin=subprocess.DEVNULL,
                                      stdout=self.log, stderr=self.log, start_new_session=True)
        atexit.register(self.stop)
        wait_for(self.answers, 60, f'the server in {self.dir} to answer')

    def shim(self):
        subprocess.run(['gcc', '-shared', '-fPIC', '-O1', '-o', f'{self.dir}/clock_ahead.so', f'{ROOT}/tests/support/clock_ahead.c'], check=True, timeout=60)
        return f'{self.dir}/clock_ahead.so'

    @staticmethod
    def command(*args):
        """PostgreSQL never runs as root."""
        return ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', *args] if os.getuid() == 0 else list(args)

    def answers(self):
        try:
            psycopg.connect(f'{self.url}/postgres').close()
            return True
        except psycopg.OperationalError as e:
            if self.popen.poll() is not None:
                with open(f'{self.dir}/server.log') as f:
                    raise AssertionError(f'the server in {self.dir} ended: {f.read()[-2000:]}') from e
            return False

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGQUIT)
            self.popen.wait(60)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Link:
    """The way between lockstep and one database: a TCP relay on a port of its own that can be cut and healed."""

    def __init__(self, host, port):
        self.target, self.up, self.pairs, self.lock = (host, port), True, set(), threading.Lock()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.open(near)

    def open(self, near):
        try:
            far = socket.create_connection(self.target, 10) if self.up else None
        except OSError:
            far = None
        with self.lock:
            if not far or not self.up:
                near.close()
                return
            far.settimeout(None)
            self.pairs.add((near, far))
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self.relay, args=(one, other, (near, far)), daemon=True).start()

    def relay(self, one, other, pair):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        self.drop(pair)

    def drop(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        with self.lock:
            self.up, pairs = False, set(self.pairs)
        for pair in pairs:
            self.drop(pair)

    def heal(self):
        self.up = True

    def close(self):
        self.cut()
        self.listener.close()


class Bench:
    """Databases `names`, in step both ways. servers: {name: Postgres} for those not on the common server; links: names that can be
    cut off; guard: of all destinations, or {name: guard}; trigger: {name: statements made beside the table}."""

    def __init__(self, world, names=('a', 'b'), servers=None, links=(), guard=None, partitions=3, trigger=None, **settings):
        self.world, self.names, self.own = world, names, servers or {}
        self.databases, self.links, self.foreign = {}, {}, []
        for name in names:
            self.databases[name] = self.database(name)
            self.databases[name].sql(TABLE)
            if trigger and name in trigger:
                self.databases[name].sql(trigger[name])
        self.journals = {name: Journal(name, db, world.topic()) for name, db in self.databases.items()}
        urls = {name: self.way_to(name, db.url, name in links) for name, db in self.databases.items()}
        source = [{'table': 'public.contacts', 'entity': 'contact'}]
        guards = guard if isinstance(guard, dict) else dict.fromkeys(names, guard)
        destination = {n: [{**source[0], **({'guard': guards[n]} if guards.get(n) else {})}] for n in names}
        retry = {'initial_ms': 50, 'max_ms': 500}
        world.configure(partitions=partitions, **settings, sources=[
            {'name': n, 'type': 'postgres', 'url': urls[n], 'tables': source, 'heartbeat_interval': '200ms', 'wal_status_interval': '200ms'} for n in names],
            destinations=[{'name': n, 'type': 'postgres', 'url': urls[n], 'tables': destination[n], 'retry': retry} for n in names])

    def database(self, name):
        if name not in self.own:
            return self.world.database({'a': 'src', 'b': 'dst'}.get(name, name))
        url = self.own[name].url
        Database(f'{url}/postgres').sql(f'create database {name}')
        self.foreign.append(Database(f'{url}/{name}'))
        return self.foreign[-1]

    def way_to(self, name, url, linked):
        if not linked:
            return url
        part = psycopg.conninfo.conninfo_to_dict(url)
        link = self.links[name] = Link(part.get('host', '127.0.0.1'), int(part.get('port', 5432)))
        return database_url(f'postgresql://{part.get("user", "postgres")}@127.0.0.1:{link.port}/x', part['dbname'])

    # ---- processes ----

    def start_capture(self, *names):
        self.capture = self.world.start('capture', *names, http=True, name='capture-' + '-'.join(names or ('all',)))
        for name in names or self.names:
            wait_for(lambda d=self.databases[name]: self.listening(d), 90, f'capture of {name} to read the log', alive=[self.capture])
        return self.capture

    def start_sink(self, *names):
        self.sink = self.world.start('sink', *names, http=True, name='sink-' + '-'.join(names or ('all',)))
        wait_for(lambda: self.world.get(self.sink, '/readyz')[0] == 200, 90, 'the sinks to be ready', alive=[self.sink])
        return self.sink

    @staticmethod
    def listening(db):
        return db.one("""select count(*) from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
            where s.database = current_database() and s.plugin = 'pgoutput' and r.state in ('streaming', 'catchup')""")

    def start(self):
        """Everything runs, and capture reads the marks: from here on every edit says what its writer had seen."""
        self.start_capture()
        self.start_sink()
        self.reading_marks()
        return self

    def reading_marks(self, *names):
        for name in names or self.names:
            wait_for(lambda d=self.databases[name]: d.one("""select count(*) from pg_publication_tables t join pg_replication_slots s
                on s.slot_name = t.pubname and s.active where s.database = current_database() and t.tablename = 'sync_offsets'"""),
                     90, f'{name}: the marks to be read', alive=[self.capture])

    # ---- where things stand ----

    def running(self):
        return [p for p in self.world.processes if not p.ended()]

    def captured(self, *names, seconds=120):
        """Waits until what these databases committed so far is in the topic."""
        now = {name: self.databases[name].one('select pg_current_wal_lsn()') for name in names or self.names}
        for name, lsn in now.items():
            wait_for(lambda d=self.databases[name], n=lsn: d.one("""select count(*) > 0 and bool_and(confirmed_flush_lsn >= %s::pg_lsn)
                from pg_replication_slots where database = current_database() and plugin = 'pgoutput'""", n),
                     seconds, f'capture of {name} to confirm all that was written', alive=self.running())

    def marks(self, name):
        if not self.databases[name].one("select to_regclass('identity.sync_offsets')"):
            return {}
        return dict(self.databases[name].sql('select partition, next_offset from identity.sync_offsets where destination = %s and topic = %s',
                                             name, self.world.topic()))

    def applied(self, *names, seconds=120):
        """Waits until what is in the topic has been applied by these databases."""
        ends = self.world.ends(self.world.topic())
        for name in names or self.names:
            wait_for(lambda n=name: (lambda m: all(end == 0 or m.get(p, -1) >= end for p, end in ends.items()))(self.marks(n)),
                     seconds, f'the sink of {name} to reach the end', alive=self.running())

    def settle(self, seconds=120):
        self.captured(seconds=seconds)
        self.applied(seconds=seconds)

    def rows(self, name):
        return {str(row[0]): {c: None if v is None else str(v) for c, v in zip(COLUMNS, row)} for row in
                self.databases[name].sql(f'select {", ".join(COLUMNS)} from contacts')}

    def reports(self):
        return [json.loads(m.value()) for m in self.world.read(f'{self.world.prefix}.conflicts')]

    def kept(self, name):
        """What sync_conflicts says, in the form of the reports."""
        return [{'destination': d, 'entity_id': key, 'winner': winner, 'loser': loser} for d, key, winner, loser in self.databases[name].sql(
            'select destination, entity_id, winner_data, loser_data from identity.sync_conflicts order by id')]

    def dead(self, events):
        """{destination: {event id: code}} of its dead letters."""
        at = {(e['_partition'], e['_offset']): e['event_id'] for e in events}
        return {name: {at[int(self.header(m, 'partition')), int(self.header(m, 'offset'))]: self.header(m, 'code') for m in self.world.dead(name)}
                for name in self.names}

    @staticmethod
    def header(message, name):
        return dict(message.headers())[f'lockstep.{name}'].decode()

    def drain(self):
        for journal in self.journals.values():
            journal.drain()

    # ---- the verdict ----

    def judge(self, **more):
        """Waits for the end, then judges all of it; returns the judgement."""
        self.settle()
        before = self.world.ends(self.world.topic())
        self.drain()
        judgement = Judgement(list(self.journals.values()), self.world.events(), **more)
        judgement.check_rows({name: self.rows(name) for name in self.names})
        self.judge_conflicts(judgement)
        self.quiet(judgement, before)
        return judgement

    def judge_conflicts(self, judgement):
        want = {(name, *conflict) for name in self.names for conflict in judgement.conflicts(name)}
        judgement.expected, end = len(want), time.monotonic() + 30
        while want - {judgement.conflict_of(r) for r in self.reports()} and time.monotonic() < end:
            time.sleep(0.3)
        judgement.check_conflicts(self.reports(), {name: self.kept(name) for name in self.names})

    def quiet(self, judgement, before):
        """Nothing goes round: after the end no event is added and no row is written."""
        self.settle()
        if self.world.ends(self.world.topic()) != before:
            judgement.fault(f'the topic grew after the last edit: {before} to {self.world.ends(self.world.topic())}')
        written = {name: len(journal.changes) for name, journal in self.journals.items()}
        self.drain()
        for name, journal in self.journals.items():
            if len(journal.changes) != written[name]:
                judgement.fault(f'{name} was written after the end: {journal.changes[written[name]:][:3]}')


class Writer(threading.Thread):
    """Edits one database from a seed: inserts, updates, deletes, re-inserts, several rows at once, rollbacks, savepoints.
    Every version of a row carries a tag that no other has."""

    def __init__(self, name, url, seed, keys, pause=0.01, most=None):
        super().__init__(daemon=True)
        self.name_, self.url, self.random, self.keys = name, url, random.Random(f'{seed} {name}'), keys
        self.pause, self.most, self.count, self.done, self.failure = pause, most, 0, threading.Event(), None

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True, application_name='bench writer') as conn:
                while not self.done.is_set() and (self.most is None or self.count < self.most):
                    self.transaction(conn)
                    time.sleep(self.pause * self.random.random() * 2)
        except Exception as e:  # noqa: the bench asks for it
            self.failure = e

    def transaction(self, conn):
        keys = sorted(self.random.sample(self.keys, min(len(self.keys), self.random.choice((1, 1, 1, 2, 4)))))
        try:
            with conn.transaction():
                for key in keys:
                    self.edit(conn, key)
                if self.random.random() < 0.1:
                    self.edit(conn, keys[-1])
                if self.random.random() < 0.1:
                    self.undone(conn, keys[-1])
                if self.random.random() < 0.1:
                    raise psycopg.Rollback()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
            pass

    def undone(self, conn, key):
        with conn.transaction():
            self.edit(conn, key)
            raise psycopg.Rollback()

    def edit(self, conn, key):
        self.count += 1
        tag, kind = f'{self.name_}:{self.count}', self.random.random()
        if kind < 0.2:
            conn.execute('delete from contacts where id = %s', (key,))
        elif kind < 0.6:
            conn.execute('update contacts set tag = %s, number = number + 1 where id = %s', (tag, key))
        else:
            conn.execute("""insert into contacts values (%s, %s, %s, 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
                on conflict (id) do update set tag = excluded.tag, number = contacts.number + 1, changed = excluded.changed""", (key, tag, f'note of {tag}'))


def write_at_once(bench, seconds=None, keys=12, pause=0.01, most=None, seed=None, meanwhile=None, names=None):
    """All databases are edited at the same time, for so long or so many edits. meanwhile: called with the time passed, may do harm."""
    writers = [Writer(name, bench.databases[name].url, SEED if seed is None else seed, range(1, keys + 1), pause, most) for name in names or bench.names]
    for writer in writers:
        writer.start()
    if meanwhile:
        meanwhile()
    if seconds:
        time.sleep(seconds)
        for writer in writers:
            writer.done.set()
    for writer in writers:
        writer.join(180)
        if writer.failure:
            raise writer.failure
        assert not writer.is_alive(), f'the writer of {writer.name_} does not end'
    return sum(writer.count for writer in writers)


class TwoWayScenario(Scenario):
    """A test with benches. A bench made by `bench()` is closed after the test, whatever became of it."""

    def bench(self, **more):
        bench = Bench(self.world, **more)
        self.benches = [*getattr(self, 'benches', ()), bench]
        return bench

    def server(self, **more):
        server = Postgres(**more)
        self.addCleanup(server.stop)
        return server

    def tearDown(self):
        for bench in getattr(self, 'benches', ()):
            for process in bench.running():
                try:
                    process.stop(60)
                except AssertionError as e:
                    print(e)
            for link in bench.links.values():
                link.close()
            for db in bench.foreign:
                db.close()
        super().tearDown()

    def right(self, judgement, least_conflicts=0):
        self.assertEqual(judgement.faults, [], judgement.report())
        self.assertGreaterEqual(judgement.expected, least_conflicts, 'the workload made fewer conflicts than it is meant to')
