"""Every place of the configuration that may hold a secret holds one, and everything goes wrong: none of them is in any log, error, status, metric,
dead letter, topic, table, process title, state or core file.

The PostgreSQL of this suite is its own, because it has to ask for passwords."""
import atexit, os, re, resource, signal, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'chaos'))
import lockstep_test
from lockstep_test import BIN, ROOT, Database, Scenario, main, wait_for

import psycopg
from secret_scan import scan
from servers import Postgres

POSTGRES = f'{ROOT}/build/tests/secrecy-{os.getpid()}'
SOURCE, DESTINATION, NEW = 'Sou#ce/pa55:w0rd@x', 'dest1nation-pa55w0rd', 'another-pa55w0rd-later'
QUOTED = 'Sou%23ce%2Fpa55%3Aw0rd%40x'
SECRETS = {
    'password of the source': SOURCE, 'password of the source, as in the URL': QUOTED, 'password of the destination': DESTINATION,
    'new password of the destination': NEW, 'token of the HTTP server': 't0ken-of-the-http-server', 'SASL password': 'sasl-pa55w0rd-of-kafka',
    'password of the key': 'ssl-key-pa55w0rd', 'password of the key store': 'keystore-pa55w0rd', 'password of the registry': 'registry-pa55w0rd',
    'wrong password': 'wr0ng-pa55w0rd'}


def servers_own():
    server = Postgres(POSTGRES)
    server.init()
    atexit.register(subprocess.run, ['rm', '-rf', POSTGRES])
    atexit.register(server.stop, 'immediate')
    return server


class Secrecy(Scenario):
    @classmethod
    def setUpClass(cls):
        cls.server = servers_own()
        lockstep_test.servers().pg = url = f'postgresql://postgres@127.0.0.1:{cls.server.port}/postgres'
        with psycopg.connect(url, autocommit=True) as c:
            for role, password in (('cap', SOURCE), ('snk', DESTINATION)):
                c.execute(f"create role {role} superuser login password '{password}'")
            with open(f'{cls.server.data_dir}/pg_hba.conf', 'w') as f:
                f.write('host all,replication postgres 127.0.0.1/32 trust\nhost all,replication all 127.0.0.1/32 scram-sha-256\n')
            c.execute('select pg_reload_conf()')
        wait_for(lambda: not cls.admits('cap', 'no such'), 30, 'the server to ask for passwords')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop('immediate')

    def setUp(self):
        super().setUp()
        self.texts = {}

    @classmethod
    def admits(cls, role, password):
        try:
            psycopg.connect(host='127.0.0.1', port=cls.server.port, user=role, password=password, dbname='postgres').close()
            return True
        except psycopg.OperationalError:
            return False

    def url(self, role, password, database):
        return f'postgresql://{role}:{password}@127.0.0.1:{self.server.port}/{database.name}'

    def configure(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text not null)')
        with open(f'{w.dir}/password', 'w') as f:
            f.write(DESTINATION + '\n')
        os.environ['SECRECY_SOURCE'] = self.url('cap', QUOTED, w.source)
        tables = [{'table': 'public.contacts', 'entity': 'contact'}]
        w.configure(
            kafka={'bootstrap.servers': w.kafka, 'session.timeout.ms': 6000, 'sasl.username': 'somebody', 'sasl.password': SECRETS['SASL password'],
                   'ssl.key.password': SECRETS['password of the key'], 'ssl.keystore.password': SECRETS['password of the key store']},
            sources=[{'name': 'crm', 'type': 'postgres', 'url': '${env:SECRECY_SOURCE}', 'tables': tables}],
            destinations=[{'name': 'warehouse', 'type': 'postgres', 'tables': tables,
                           'url': 'postgresql://snk:${file:' + w.dir + f'/password}}@127.0.0.1:{self.server.port}/{w.destination.name}'}])

    def start(self, wing, **more):
        """With everything that lockstep can say, and core files allowed."""
        w = self.world
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        w.settings['http'] = {'listen': '127.0.0.1:0', 'token': SECRETS['token of the HTTP server']}
        process = w.start('--log-level', 'debug', wing, name=f'{wing}{len(w.processes)}', **more)
        self.title(process)
        return process

    def title(self, process):
        for name in ('cmdline', 'comm', 'stat'):
            with open(f'/proc/{process.popen.pid}/{name}', 'rb') as f:
                self.texts[f'/proc/PID/{name} of {process.name}'] = f.read()

    def port(self, process):
        return wait_for(lambda: re.search(r'port=(\d+)', process.text()), 60, 'the HTTP server', alive=[process]).group(1)

    def ask(self, process):
        import urllib.error, urllib.request
        for path in ('/healthz', '/readyz', '/metrics', '/api/v1/status', '/api/v1/status?token=x', '/nothing'):
            for token in (None, 'wrong', SECRETS['token of the HTTP server']):
                request = urllib.request.Request(f'http://127.0.0.1:{self.port(process)}{path}', headers={'Authorization': f'Bearer {token}'} if token else {})
                try:
                    with urllib.request.urlopen(request, timeout=30) as reply:
                        answer = str(reply.headers) + reply.read().decode()
                except urllib.error.HTTPError as e:
                    answer = str(e.headers) + e.read().decode()
                self.texts[f'{path} of {process.name} with token {token is not None}'] = answer

    COMMANDS = (('check', '--json'), ('check',), ('check', '--strict'), ('status',), ('status', '--json'), ('status', 'contact', '1', '--json'),
                ('dlq', 'list', '--json'), ('topics', 'list'), ('options',), ('options', 'postgres'), ('version',))

    def say(self, what, config=None, count=1):
        """The first `count` commands, with whatever they answer."""
        w = self.world
        for args in self.COMMANDS[:count]:
            done = subprocess.run([BIN, '-c', config or w.config_file, '--log-level', 'debug', *args], capture_output=True, timeout=120, cwd=w.dir)
            self.texts[f'lockstep {" ".join(args)}, {what}'] = done.stdout + done.stderr

    def wrong_config(self, name, **change):
        w = self.world
        file = f'{w.dir}/{name}.yaml'
        w.write(file, {**w.settings, **change})
        return file

    def work(self, n=20):
        self.rows = getattr(self, 'rows', 0) + n
        self.world.source.sql('insert into contacts select i, %s from generate_series(%s::bigint, %s::bigint) i', 'somebody', self.rows - n + 1, self.rows)

    def crash(self, process):
        """Returns true when the kernel wrote a core file. Not by SIGSEGV, which a sanitizer takes for a finding."""
        os.kill(process.popen.pid, signal.SIGABRT)
        status = os.waitpid(process.popen.pid, 0)[1]
        process.popen.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return os.WIFSIGNALED(status) and os.WCOREDUMP(status)

    def test_no_secret_gets_out(self):
        w = self.world
        self.configure()
        self.work()
        capture, sink = self.start('capture'), self.start('sink')
        w.settle(alive=[capture, sink])
        self.ask(capture)
        self.ask(sink)
        self.say('when all is well', count=len(self.COMMANDS))

        producer = w.producer()
        producer.produce(w.topic(), key='garbage', value=b'no event')
        producer.flush(30)
        wait_for(lambda: len(w.dead()) == 1, 60, 'the dead letter', alive=[capture, sink])

        # The password is changed while lockstep runs, and its sessions end.
        w.maintenance.sql(f"alter role snk password '{NEW}'")
        w.maintenance.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename in ('snk', 'cap')")
        self.work()
        wait_for(lambda: 'class=auth' in sink.text(), 60, 'the sink to say that its password is wrong')
        self.say('when a password is wrong', count=2)
        w.maintenance.sql(f"alter role snk password '{DESTINATION}'")
        sink.popen.wait(60)  # its only lane stays down
        self.assertEqual(sink.popen.returncode, 4, sink.tail())
        sink = self.start('sink')
        w.settle(alive=[capture, sink])

        self.say('with the wrong password', self.wrong_config('wrong', sources=[{**w.settings['sources'][0], 'url': self.url('cap', 'wr0ng-pa55w0rd', w.source)}]))
        self.say('with a URL that cannot be read', self.wrong_config('unreadable', sources=[{**w.settings['sources'][0], 'url': f'postgresql://cap:{SOURCE}@127.0.0.1:x/y'}]))
        self.say('with mistakes in the file', self.wrong_config('mistakes', sources=[{**w.settings['sources'][0], 'ulr': f'postgresql://cap:{QUOTED}@h/d'}]))
        self.say('with a registry that is not there', self.wrong_config('registry', registry={'url': 'http://somebody:registry-pa55w0rd@127.0.0.1:9'}))
        self.say('with a broker that wants TLS', self.wrong_config('tls', kafka={**w.settings['kafka'], 'security.protocol': 'SASL_SSL', 'socket.timeout.ms': 3000}))

        before = len(capture.text())
        self.server.stop('immediate')
        wait_for(lambda: 'class=retry' in capture.text()[before:], 90, 'the capture to say that the server is gone')
        self.ask(capture)
        self.say('when the server is gone', count=5)
        self.assertFalse(self.crash(capture), 'a core file was written')
        self.assertFalse(self.crash(sink), 'a core file was written')
        self.server.start()
        for name in ('source', 'destination'):
            setattr(w, name, Database(getattr(w, name).url))
        w.maintenance = Database(w.maintenance.url)
        self.nothing()

    def nothing(self):
        w = self.world
        for topic in w.admin.list_topics(timeout=30).topics:
            if topic.startswith(w.prefix):
                self.texts[f'topic {topic}'] = b'\n'.join(repr((m.key(), m.value(), m.headers())).encode() for m in w.read(topic))
        for table in ('sync_offsets', 'sync_processed_events', 'sync_conflicts'):
            self.texts[f'table {table}'] = repr(w.destination.sql(f'select * from identity.{table}'))
        own = [p.config for p in w.processes] + [w.config_file, f'{w.dir}/password'] + [f'{w.dir}/{n}.yaml' for n in
                                                                                       ('wrong', 'unreadable', 'mistakes', 'registry', 'tls')]
        self.assertGreater(len(self.texts), 60)
        self.assertEqual(scan([w.dir], SECRETS, self.texts, own), [])
        # The search itself: what holds secrets by its nature is full of them.
        self.assertGreaterEqual(len({line.split(':')[0] for line in scan(own, SECRETS)}), len(SECRETS) - 1)

    def test_a_core_file_is_there_only_when_asked_for(self):
        self.configure()
        asked = self.start('capture', env={'LOCKSTEP_CORE': '1'})
        wait_for(lambda: 'capture started' in asked.text(), 60, 'the capture to run', alive=[asked])
        with open(f'/proc/{asked.popen.pid}/limits') as f:
            self.assertIn('unlimited', re.search(r'Max core file size.*', f.read()).group())
        asked.kill()
        process = self.start('capture')
        wait_for(lambda: 'capture started' in process.text(), 60, 'the capture to run', alive=[process])
        with open(f'/proc/{process.popen.pid}/limits') as f:
            self.assertRegex(f.read(), r'Max core file size +0 +0 ')
        process.kill()


main()
