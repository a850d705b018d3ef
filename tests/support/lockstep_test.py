"""What every integration suite stands on: servers, databases, topics, lockstep processes, and the questions asked of them.

A suite is one file of tests/integration with unittest cases derived from Scenario. Environment:
  LS_BIN          the binary (default: build/dev/lockstep)
  LS_TEST_KAFKA   bootstrap servers; LS_TEST_PG: URL of a PostgreSQL superuser. Without them compose/stack is started.
  LS_SCALE        1: 10,000 rows and 40,000 changes (tests/run). 10: the full form.
  LS_SEED         seed of everything random; printed
  LS_KEEP         keep databases, topics and files of the run
"""
import atexit, contextlib, io, itertools, json, os, random, re, shutil, signal, socket, subprocess, sys, time, traceback
import unittest, urllib.error, urllib.request, uuid

import fastavro
import psycopg
import psycopg.conninfo
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BIN = os.environ.get('LS_BIN', f'{ROOT}/build/dev/lockstep')
SCALE = float(os.environ.get('LS_SCALE', 1))
SEED = int(os.environ.get('LS_SEED', random.SystemRandom().randrange(1, 1 << 31)))
KEEP = bool(os.environ.get('LS_KEEP'))
SANITIZER = re.compile(r'ERROR: (Address|Leak|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer')


def scaled(count, least=1):
    return max(least, int(count * SCALE))


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def database_url(base, name):
    """The URL (or key=value text) of a server, with another database."""
    part = psycopg.conninfo.conninfo_to_dict(base)
    password = f":{part['password']}" if part.get('password') else ''
    return f"postgresql://{part.get('user', 'postgres')}{password}@{part.get('host', '127.0.0.1')}:{part.get('port', 5432)}/{name}"


class Servers:
    """The Kafka and PostgreSQL of this run: those of the environment, or a stack of its own."""

    def __init__(self):
        self.kafka, self.pg = os.environ.get('LS_TEST_KAFKA'), os.environ.get('LS_TEST_PG')
        if not self.kafka or not self.pg:
            self.start()
        self.admin = AdminClient({'bootstrap.servers': self.kafka})

    def start(self):
        directory = f'{ROOT}/build/tests/stack-{os.getpid()}'
        out = subprocess.run([f'{ROOT}/compose/stack', 'up', '--dir', directory], check=True, capture_output=True, text=True).stdout
        env = dict(re.findall(r'export (\w+)=(\S+)', out))
        self.kafka, self.pg = env['KAFKA'], env['PG_URL'] + '/postgres'
        if not KEEP:
            atexit.register(subprocess.run, [f'{ROOT}/compose/stack', 'down', '--dir', directory])


_servers = []


def servers():
    if not _servers:
        _servers.append(Servers())
    return _servers[0]


def wait_for(condition, seconds, what, every=0.1, alive=()):
    """Asks condition() until it is true; fails with the last answer, or when a process of `alive` has ended."""
    end, answer = time.monotonic() + seconds, None
    while True:
        answer = condition()
        if answer:
            return answer
        for process in alive:
            if process.ended():
                raise AssertionError(f'{process.name} ended with {process.popen.returncode} while waiting: {what}\n{process.tail()}')
        if time.monotonic() > end:
            tails = ''.join(f'\n--- {p.name}\n{p.tail()}' for p in alive)
            raise AssertionError(f'waited {seconds} s in vain: {what} (last answer: {answer!r}){tails}')
        time.sleep(every)


class Database:
    def __init__(self, url):
        self.url = url
        self.conn = psycopg.connect(url, autocommit=True)

    def sql(self, query, *args):
        """Rows of a query, [] for a statement without rows."""
        cursor = self.conn.execute(query, args or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, query, *args):
        rows = self.sql(query, *args)
        return rows[0][0] if rows else None

    def columns(self, table):
        return [row[0] for row in self.sql(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum", table)]

    def dump(self, table, columns, order):
        """Every row as one line of COPY text, in the order of the key's text."""
        names = ', '.join(quoted(c) for c in columns)
        by = ', '.join(f'{quoted(c)}::text collate "C"' for c in order)
        out = io.BytesIO()
        with self.conn.cursor().copy(f'copy (select {names} from {table} order by {by}) to stdout') as copy:
            for data in copy:
                out.write(data)
        return out.getvalue().decode().splitlines()

    def close(self):
        self.conn.close()


class Process:
    """A running lockstep. Its stderr and stdout go to one log; kept alive or ended by the test, always ended by the scenario."""

    def __init__(self, world, name, args, env=None, config=None):
        self.world, self.name, self.log = world, name, f'{world.dir}/{name}.log'
        self.config = config or world.config_file
        self.out = open(self.log, 'ab')
        self.popen = subprocess.Popen([BIN, '-c', self.config, *args], stdin=subprocess.DEVNULL, stdout=self.out, stderr=subprocess.STDOUT,
                                      start_new_session=True, cwd=world.dir, env={**os.environ, **(env or {})})

    def ended(self):
        return self.popen.poll() is not None

    def text(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def tail(self, lines=12):
        return '\n'.join(self.text().splitlines()[-lines:])

    def kill(self):
        """SIGKILL: nothing is told to anyone."""
        if not self.ended():
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, seconds=30):
        """SIGTERM; returns the exit code. A process that does not end is killed and is a failure."""
        if not self.ended():
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGKILL)
            self.popen.wait(10)
            raise AssertionError(f'{self.name} did not stop within {seconds} s of SIGTERM\n{self.tail()}') from None


class World:
    """One source database, one destination database, one topic prefix: made for a test, removed after it."""

    def __init__(self, name):
        self.name = f"{re.sub('[^a-z0-9]+', '-', name.lower())[:30]}-{uuid.uuid4().hex[:6]}"
        self.prefix, self.servers = f'it-{self.name}', servers()
        self.kafka, self.admin = self.servers.kafka, self.servers.admin
        self.dir = f'{ROOT}/build/tests/integration/{self.name}'
        os.makedirs(self.dir, exist_ok=True)
        self.random = random.Random(SEED)
        self.processes, self.databases = [], {}
        self.maintenance = Database(self.servers.pg)
        self.source, self.destination = self.database('src'), self.database('dst')
        self.settings = None
        self.config_file = f'{self.dir}/lockstep.yaml'

    # ---- databases ----

    def database(self, short):
        """A fresh database; asking again gives the same."""
        if short not in self.databases:
            name = f"it_{self.name}_{short}".replace('-', '_')
            self.maintenance.sql(f'create database {name}')
            self.databases[short] = Database(database_url(self.servers.pg, name))
            self.databases[short].name = name
        return self.databases[short]

    def audit(self, table, key='id'):
        """Logs every row change of a destination table, with the row before and after, in the order they were made."""
        self.destination.sql(f"""
            create table if not exists audit (n bigserial primary key, op text, key text, old jsonb, new jsonb, at timestamptz default clock_timestamp());
            create or replace function audit() returns trigger language plpgsql as $$ begin
              insert into audit (op, key, old, new) values (tg_op, coalesce(to_jsonb(new), to_jsonb(old)) ->> '{key}',
                case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
              return null; end $$;
            create trigger audit after insert or update or delete on {table} for each row execute function audit()""")

    def same(self, table, key=('id',), other=None):
        """None when both tables hold the same rows, column by column; else a text that says where they differ."""
        other = other or table
        columns = self.source.columns(table)
        try:
            mine, theirs = self.source.dump(table, columns, key), self.destination.dump(other, columns, key)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as e:
            return f'{other} at the destination: {e}'
        if mine == theirs:
            return None
        left, right = set(mine), set(theirs)
        lines = [f'source has {len(mine)} rows of {table}, destination {len(theirs)}; columns: {columns}']
        lines += [f'  only in source:      {r[:300]}' for r in itertools.islice(sorted(left - right), 5)]
        lines += [f'  only in destination: {r[:300]}' for r in itertools.islice(sorted(right - left), 5)]
        return '\n'.join(lines)

    # ---- configuration and processes ----

    def configure(self, tables=('contacts',), sources=None, destinations=None, partitions=6, entity=None, key=('id',), **more):
        """Writes the configuration. `tables`: one entity each, named after the table without its plural s."""
        named = {table: entity or re.sub('s$', '', table.split('.')[-1].strip('"')) for table in tables}
        self.settings = {
            'kafka': {'bootstrap.servers': self.kafka, 'session.timeout.ms': 6000},  # the broker's least: a killed member is missed soon
            'topics': {'prefix': self.prefix, 'partitions': partitions, 'replication_factor': 1},
            'state_dir': f'{self.dir}/state',
            'entities': [{'name': name, 'key': list(key)} for name in dict.fromkeys(named.values())],
            'sources': sources if sources is not None else [
                {'name': 'crm', 'type': 'postgres', 'url': self.source.url,
                 'tables': [{'table': t if '.' in t else f'public.{t}', 'entity': e} for t, e in named.items()]}],
            'destinations': destinations if destinations is not None else [
                {'name': 'warehouse', 'type': 'postgres', 'url': self.destination.url,
                 'tables': [{'entity': e, 'table': t if '.' in t else f'public.{t}'} for t, e in named.items()]}],
            **more}
        self.write(self.config_file, self.settings)
        return self.config_file

    @staticmethod
    def write(file, settings):
        """JSON is YAML; so is this."""
        with open(file, 'w') as f:
            for name, value in settings.items():
                f.write(f'{name}: {json.dumps(value)}\n')

    def start(self, *args, name=None, env=None, http=False, instance=None, wait=False):
        """Starts lockstep with a state directory of its own (kept over restarts of the same name). http: on a free port."""
        name = name or '-'.join(a.strip('-') for a in args) or 'lockstep'
        config = f'{self.dir}/{name}.yaml'
        settings = {**self.settings, 'state_dir': f'{self.dir}/state-{name}'}
        port = None
        if http or wait:
            port = free_port()
            settings['http'] = {'listen': f'127.0.0.1:{port}'}
        if instance:
            settings['instance'] = instance
        self.write(config, settings)
        process = Process(self, name, args, env, config)
        process.port, process.state = port, settings['state_dir']
        self.processes.append(process)
        if wait:
            wait_for(lambda: self.get(process, '/readyz')[0] == 200, 60, f'{name} ready', alive=[process])
            if args[0] in ('capture', 'run'):
                wait_for(self.listening, 60, f'{name} to read the log', alive=[process])
        return process

    def listening(self):
        """True when the log is being sent: the slot stands, the snapshot is over, and a change is an event of its own from now on."""
        return self.source.one("""select count(*) > 0 from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid
            where s.database = current_database() and r.state in ('streaming', 'catchup')""")

    @staticmethod
    def get(process, path, timeout=5):
        """(status, body) of a path of the process's HTTP server; status 0: no answer."""
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{process.port}{path}', timeout=timeout) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError:
            return 0, ''

    def run(self, *args, input=None, timeout=60, config=None, ok=True):
        """Runs a command to its end; returns the CompletedProcess. ok: any exit but 0 is a failure."""
        done = subprocess.run([BIN, '-c', config or self.config_file, *args], input=input, capture_output=True, text=True, timeout=timeout, cwd=self.dir)
        with open(f'{self.dir}/commands.log', 'a') as f:
            f.write(f'$ lockstep {" ".join(args)}\n{done.stdout}{done.stderr}[exit {done.returncode}]\n')
        if ok and done.returncode:
            raise AssertionError(f'lockstep {" ".join(args)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}')
        return done

    def json(self, *args, **more):
        return json.loads(self.run(*args, '--json', **more).stdout)

    # ---- topics ----

    def topic(self, entity='contact', suffix=''):
        return f'{self.prefix}.{entity}{suffix}'

    def consumer(self):
        return Consumer({'bootstrap.servers': self.kafka, 'group.id': f'{self.prefix}-reader-{uuid.uuid4().hex[:6]}', 'enable.auto.commit': False,
                         'auto.offset.reset': 'earliest', 'enable.partition.eof': False, 'log_level': 3})

    def partitions(self, topic):
        found = self.admin.list_topics(timeout=10).topics.get(topic)
        return sorted(found.partitions) if found and not found.error else []

    def ends(self, topic):
        """{partition: next offset} of a topic, {} when there is none."""
        reader = self.consumer()
        try:
            return {p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in self.partitions(topic)}
        finally:
            reader.close()

    def read(self, topic):
        """All messages of a topic up to its present end."""
        reader, out = self.consumer(), []
        try:
            want = {}
            for p in self.partitions(topic):
                low, high = reader.get_watermark_offsets(TopicPartition(topic, p), timeout=10)
                if high > low:
                    want[p] = high
            reader.assign([TopicPartition(topic, p, 0) for p in want])
            end = time.monotonic() + 120
            while want and time.monotonic() < end:
                for m in reader.consume(1000, 0.1):
                    if m.error():
                        raise AssertionError(f'{topic}: {m.error()}')
                    out.append(m)
                for t in reader.position([TopicPartition(topic, p) for p in want]):
                    if t.offset >= want[t.partition]:
                        del want[t.partition]
            assert not want, f'{topic}: did not reach the end of partitions {want}'
            return out
        finally:
            reader.close()

    def schemas(self):
        """{fingerprint in hex: parsed schema} as the writers published them."""
        out = {}
        for m in self.read(f'{self.prefix}.schemas'):
            if m.value():
                out[m.key().decode()] = fastavro.parse_schema(json.loads(m.value()), _force=True)
        return out

    def events(self, entity='contact'):
        """All events of an entity, decoded by fastavro, with `_key`, `_partition` and `_offset` of the message."""
        schemas, out = self.schemas(), []
        for m in self.read(self.topic(entity)):
            value = m.value()
            assert value[:2] == b'\xc3\x01', f'message {m.partition()}:{m.offset()} is no single-object encoding: {value[:10]!r}'
            event = fastavro.schemaless_reader(io.BytesIO(value[10:]), schemas[value[2:10].hex()])
            event.update(_key=m.key().decode(), _partition=m.partition(), _offset=m.offset())
            out.append(event)
        return out

    def producer(self):
        return Producer({'bootstrap.servers': self.kafka, 'partitioner': 'murmur2_random', 'enable.idempotence': True, 'linger.ms': 5})

    def register(self, schema):
        """Publishes a writer schema as docs/publishing.md says; returns the ten bytes that open each of its messages."""
        canonical = fastavro.schema.to_parsing_canonical_form(schema)
        finger = fingerprint(canonical)
        producer = self.producer()
        producer.produce(f'{self.prefix}.schemas', key=finger.hex(), value=json.dumps(schema))
        producer.flush(30)
        return b'\xc3\x01' + finger

    # ---- where things stand ----

    def marks(self, destination='warehouse'):
        """{(topic, partition): next offset} that the destination has."""
        if not self.destination.one("select to_regclass('identity.sync_offsets')"):
            return {}
        return {(t, p): n for t, p, n in self.destination.sql(
            'select topic, partition, next_offset from identity.sync_offsets where destination = %s', destination)}

    def caught_up(self, entity='contact', destination='warehouse'):
        """True when the destination has applied all that is in the topic now."""
        topic = self.topic(entity)
        marks = self.marks(destination)
        ends = self.ends(topic)
        return bool(ends) and all(end == 0 or marks.get((topic, p)) == end for p, end in ends.items())

    def captured(self, source='crm'):
        """A condition: every slot of the source database has confirmed what was written up to this call, past any snapshot."""
        since = []

        def confirmed():
            if not self.listening():
                return False
            # Behind the place where a new slot begins: what was read of the tables is confirmed with the first that follows it.
            if not since:
                since.append(self.source.one("select pg_logical_emit_message(true, 'lockstep-test', '')"))
            return self.source.one(
                'select count(*) > 0 and bool_and(confirmed_flush_lsn >= %s::pg_lsn) from pg_replication_slots where database = current_database()', since[0])
        return confirmed

    def settle(self, entity='contact', seconds=None, alive=None, tables=('contacts',)):
        """Waits until capture confirmed all that was written and the destination applied all that is in the topic."""
        seconds = seconds or 60 + 60 * SCALE
        alive = [p for p in self.processes if not p.ended()] if alive is None else alive
        wait_for(self.captured(), seconds, 'capture to confirm all that was written', alive=alive)
        wait_for(lambda: self.caught_up(entity), seconds, f'the sink to reach the end of {self.topic(entity)}', every=0.3, alive=alive)

    def dead(self, destination='warehouse', source=None):
        """Dead letters that are there now: a null value takes one away."""
        letters = {}
        for m in self.read(f'{self.prefix}.dlq.{source or destination}'):
            if m.value() is None and not m.headers():
                letters.pop(m.key(), None)
            else:
                letters[m.key()] = m
        return list(letters.values())

    def published(self, entity='contact'):
        return sum(self.ends(self.topic(entity)).values())

    # ---- the end ----

    def sanitizers(self):
        """Lines of the logs in which a sanitizer reports something."""
        found = []
        for name in sorted(os.listdir(self.dir)):
            if name.endswith('.log'):
                with open(f'{self.dir}/{name}', errors='replace') as f:
                    text = f.read()
                hit = SANITIZER.search(text)
                if hit:
                    found.append(f'{name}:\n{text[max(0, hit.start() - 200):hit.start() + 3000]}')
        return found

    def close(self):
        for p in self.processes:
            if not p.ended():
                with contextlib.suppress(AssertionError):
                    p.stop(20)
            p.out.close()
        if KEEP:
            return
        for db in self.databases.values():
            db.close()
            for (slot,) in self.maintenance.sql('select slot_name from pg_replication_slots where database = %s', db.name):
                with contextlib.suppress(psycopg.Error):
                    self.maintenance.sql('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s and active', slot)
                    wait_for(lambda s=slot: not self.maintenance.one('select active from pg_replication_slots where slot_name = %s', s), 10, 'slot to be free')
                    self.maintenance.sql('select pg_drop_replication_slot(%s)', slot)
            with contextlib.suppress(psycopg.Error):
                self.maintenance.sql(f'drop database if exists {db.name} with (force)')
        self.maintenance.close()
        topics = [t for t in self.admin.list_topics(timeout=10).topics if t.startswith(f'{self.prefix}.')]
        for future in (self.admin.delete_topics(topics) if topics else {}).values():
            with contextlib.suppress(Exception):
                future.result()


def fingerprint(canonical):
    """CRC-64-AVRO of a parsing canonical form, as the eight bytes that stand in a message (little-endian), by the Avro specification."""
    empty = 0xC15D213AA4D7A795
    table = []
    for i in range(256):
        fp = i
        for _ in range(8):
            fp = (fp >> 1) ^ (empty & -(fp & 1))
        table.append(fp)
    fp = empty
    for byte in canonical.encode():
        fp = (fp >> 8) ^ table[(fp ^ byte) & 0xff]
    return fp.to_bytes(8, 'little')


class Scenario(unittest.TestCase):
    """A test with a World. What a sanitizer says in any log of it is a failure of the test."""

    def setUp(self):
        self.world = World(f'{os.path.basename(sys.argv[0])[:-3]}-{self._testMethodName[5:]}')
        self.failed = True

    def tearDown(self):
        world = self.world
        codes = [(p.name, p.popen.poll()) for p in world.processes]
        try:
            world.close()
            reports = world.sanitizers()
        finally:
            outcome = getattr(self._outcome, 'result', None)
            bad = outcome and any(test is self for test, _ in outcome.failures + outcome.errors)
        if reports:
            self.fail('a sanitizer reports:\n' + '\n'.join(reports))
        if bad or any(code == 66 for _, code in codes):
            print(f'logs: {world.dir}', file=sys.stderr)
        elif not KEEP:
            shutil.rmtree(world.dir, ignore_errors=True)


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self.since = time.monotonic()

    def addSuccess(self, test):
        super().addSuccess(test)
        print(f'ok    {test._testMethodName[5:].replace("_", " ")}  {time.monotonic() - self.since:.1f} s', flush=True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(f'FAIL  {test._testMethodName[5:].replace("_", " ")}', flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        print(f'FAIL  {getattr(test, "_testMethodName", str(test))[5:].replace("_", " ")}', flush=True)


def main():
    """Runs the calling file's scenarios (those named on the command line, or all) and prints the line that tests/run counts."""
    print(f'seed {SEED}  scale {SCALE:g}  binary {BIN}', flush=True)
    if not os.access(BIN, os.X_OK):
        sys.exit(f'no lockstep binary at {BIN}: build it, or set LS_BIN')
    module = sys.modules['__main__']
    suite = unittest.TestSuite()
    for test in itertools.chain.from_iterable(unittest.defaultTestLoader.loadTestsFromModule(module)):
        if len(sys.argv) < 2 or any(part in test._testMethodName for part in sys.argv[1:]):
            suite.addTest(test)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=0).run(suite)
    bad = len({str(test) for test, _ in result.failures + result.errors})
    skip = len(result.skipped)
    if bad:
        print(f'again with: LS_SEED={SEED} LS_SCALE={SCALE:g} LS_BIN={BIN} {sys.executable} {sys.argv[0]}')
    print(f'{result.testsRun - bad - skip} passed, {bad} failed, {skip} skipped')
    sys.exit(1 if bad else 0)
