"""A broker and PostgreSQL servers that belong to one run: they can be killed, stopped and started again on their ports with their data.

Every server listens on a port of its own. What lockstep is told to connect to is another one, that of a proxy; the broker advertises
that one on the listener meant for lockstep, and its own on the listener for the workload and the oracle (`direct`).
"""
import os, random, shutil, signal, socket, subprocess, threading, time

import psycopg

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
KAFKA_VERSION = '4.1.0'


def free_port(taken=set()):
    """A port below the kernel's range for outgoing connections, never given twice by this process."""
    chosen = random.SystemRandom()
    for _ in range(500):
        port = chosen.randrange(20000, 32000)
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise RuntimeError('found no free port between 20000 and 32000')


def answers(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(('127.0.0.1', port)) == 0


def until(condition, seconds, what, every=0.05):
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise RuntimeError(f'waited {seconds} s in vain for {what}')
        time.sleep(every)


def kafka_jars():
    cache = f"{os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')}/lockstep/kafka-{KAFKA_VERSION}"
    if not os.path.exists(f'{cache}/.complete'):
        # The stack knows how to fetch them.
        directory = f'{ROOT}/build/tests/chaos-fetch-{os.getpid()}'
        subprocess.run([f'{ROOT}/compose/stack', 'up', '--dir', directory], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([f'{ROOT}/compose/stack', 'down', '--dir', directory], check=True)
    return cache


class Kafka:
    """address: what lockstep is told (through the proxy); direct: for everybody else; pid; kill(sig), stop(), start()."""

    def __init__(self, directory, proxy_port=None):
        self.dir, self.popen, self.lock = directory, None, threading.RLock()
        self.port, self.direct_port, self.controller = free_port(), free_port(), free_port()
        self.proxy_port = proxy_port or self.port
        self.address, self.direct = f'127.0.0.1:{self.proxy_port}', f'127.0.0.1:{self.direct_port}'
        self.jars = kafka_jars()
        os.makedirs(directory, exist_ok=True)
        self.configure()

    def configure(self):
        with open(f'{ROOT}/compose/kafka/server.properties') as f:
            lines = f.read().replace('@DIR@', f'{self.dir}/data').replace('@CONTROLLER@', str(self.controller)).splitlines()
        lines = [line for line in lines if not line.startswith(('listeners=', 'advertised.listeners=', 'listener.security.protocol.map='))]
        lines += [
            f'listeners=PLAINTEXT://127.0.0.1:{self.port},DIRECT://127.0.0.1:{self.direct_port},CONTROLLER://127.0.0.1:{self.controller}',
            f'advertised.listeners=PLAINTEXT://{self.address},DIRECT://{self.direct}',
            'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT',
            'inter.broker.listener.name=DIRECT',
            # A broker that was killed is not to wait for itself to time out.
            'broker.session.timeout.ms=3000', 'broker.heartbeat.interval.ms=500',
        ]
        with open(f'{self.dir}/server.properties', 'w') as f:
            f.write('\n'.join(lines) + '\n')

    def java(self, *args):
        java = f"{os.environ['JAVA_HOME']}/bin/java" if os.environ.get('JAVA_HOME') else 'java'
        return [java, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', f'-Dlog4j2.configurationFile={ROOT}/compose/kafka/log4j2.properties',
                '-cp', f'{self.jars}/libs/*', *args]

    def format(self):
        if os.path.exists(f'{self.dir}/data/meta.properties'):
            return
        with open(f'{self.dir}/format.log', 'w') as log:
            subprocess.run(self.java('kafka.tools.StorageTool', 'format', '-t', 'bG9ja3N0ZXBjaGFvcw', '-c', f'{self.dir}/server.properties'),
                           check=True, stdout=log, stderr=log)

    @property
    def pid(self):
        return self.popen.pid if self.popen and self.popen.poll() is None else None

    def start(self, seconds=120):
        with self.lock:
            if self.pid is None:
                self.format()
                # What an earlier broker in this directory said stays in front.
                log = open(f'{self.dir}/kafka.log', 'ab')
                self.popen = subprocess.Popen(self.java('kafka.Kafka', f'{self.dir}/server.properties'), stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log, cwd=self.dir, start_new_session=True, env={**os.environ, 'KAFKA_HEAP_OPTS': ''})
                log.close()
            process = self.popen
        until(lambda: process.poll() is not None or (answers(self.port) and answers(self.direct_port)), seconds, 'Kafka to answer')
        if process.poll() is not None and process is self.popen:
            raise RuntimeError(f'Kafka ended with {process.returncode}, see {self.dir}/kafka.log')

    def kill(self, sig=signal.SIGKILL):
        """Sends a signal; after SIGKILL and SIGTERM waits for the end."""
        with self.lock:
            if self.pid is None:
                return
            self.popen.send_signal(sig)
            if sig in (signal.SIGKILL, signal.SIGTERM):
                self.popen.wait(60)

    def stop(self):
        with self.lock:
            if self.pid is None:
                return
            self.popen.send_signal(signal.SIGCONT)
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def pg_bin():
    found = sorted((v for v in os.listdir('/usr/lib/postgresql') if os.path.exists(f'/usr/lib/postgresql/{v}/bin/initdb')), key=float)
    return f'/usr/lib/postgresql/{found[-1]}/bin'


class Postgres:
    """url: database `chaos` (or another one) through the proxy, for lockstep; direct: the same without it; data_dir; connect(), stop(), start(),
    restart_immediate(), kill(). A role of its own is made for lockstep, so that pg_stat_activity tells who is who."""

    SETTINGS = {'listen_addresses': "'127.0.0.1'", 'wal_level': 'logical', 'max_wal_senders': '20', 'max_replication_slots': '20',
                'max_connections': '200', 'shared_buffers': '64MB', 'max_wal_size': '1GB', 'track_commit_timestamp': 'on', 'timezone': "'UTC'",
                # Only processes die here, never the machine: what the kernel has is as good as on the disk.
                'fsync': 'off', 'log_min_messages': 'warning', 'restart_after_crash': 'on'}

    def __init__(self, directory, proxy_port=None, **settings):
        self.root, self.data_dir, self.port, self.lock = directory, f'{directory}/data', free_port(), threading.RLock()
        self.proxy_port, self.bin = proxy_port or self.port, pg_bin()
        self.settings = {**self.SETTINGS, **settings}
        self.name('chaos')

    def name(self, database):
        self.database = database
        self.url = f'postgresql://lockstep@127.0.0.1:{self.proxy_port}/{database}'
        self.direct = f'postgresql://postgres@127.0.0.1:{self.port}/{database}'

    def as_postgres(self, *command, **more):
        if os.getuid() == 0:
            command = ('setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', *command)
        return subprocess.run(command, cwd='/', stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)

    def init(self):
        os.makedirs(self.root, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.root, 'postgres')
        done = self.as_postgres(f'{self.bin}/initdb', '-D', self.data_dir, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync')
        if done.returncode:
            raise RuntimeError(f'initdb in {self.data_dir}: {done.stderr}')
        with open(f'{self.data_dir}/postgresql.conf', 'a') as f:
            f.write(f"unix_socket_directories = ''\n" + ''.join(f'{k} = {v}\n' for k, v in self.settings.items()))
        self.start()
        with psycopg.connect(f'postgresql://postgres@127.0.0.1:{self.port}/postgres', autocommit=True) as c:
            c.execute('create role lockstep superuser login')
            c.execute('create database chaos')

    def another(self, database):
        """An empty database takes the place of the last one, whose slots go."""
        for (slot,) in self.sql('select slot_name from pg_replication_slots where not active'):
            self.sql('select pg_drop_replication_slot(%s)', slot)
        self.sql(f'create database {database}')
        self.name(database)

    def pg_ctl(self, *args):
        done = self.as_postgres(f'{self.bin}/pg_ctl', '-D', self.data_dir, '-l', f'{self.root}/server.log', '-o', f'-p {self.port}', '-w', '-t', '120', *args)
        return done.returncode, done.stdout + done.stderr

    def start(self):
        with self.lock:
            if self.running:
                return
            code, text = self.pg_ctl('start')
            if code:
                raise RuntimeError(f'PostgreSQL in {self.data_dir} did not start: {text}; see {self.root}/server.log')

    @property
    def pid(self):
        try:
            with open(f'{self.data_dir}/postmaster.pid') as f:
                return int(f.readline())
        except (OSError, ValueError):
            return None

    @property
    def running(self):
        pid = self.pid
        return pid is not None and os.path.exists(f'/proc/{pid}/cwd') and os.path.realpath(f'/proc/{pid}/cwd') == os.path.realpath(self.data_dir)

    def stop(self, mode='fast'):
        """fast: as an operator does; immediate: as a crash."""
        with self.lock:
            if self.running:
                code, text = self.pg_ctl('-m', mode, 'stop')
                if code:
                    raise RuntimeError(f'PostgreSQL in {self.data_dir} did not stop: {text}')

    def restart_immediate(self):
        with self.lock:
            self.stop('immediate')
            self.start()

    def connect(self, **more):
        """A connection that goes around the proxy."""
        return psycopg.connect(self.direct, autocommit=more.pop('autocommit', True), connect_timeout=10, **more)

    def sql(self, query, *args):
        with self.connect() as c:
            cursor = c.execute(query, args or None)
            return cursor.fetchall() if cursor.description else []
