"""The world of a chaos run: servers, proxies, lockstep's processes. What a fault is given as `world`.

A module of tests/chaos/faults has a list FAULTS of objects with
  name      what --only and the table of results call it
  weight    how often it is drawn, beside the weights of the others
  needs     set of strings: 'proxy' (the servers are reached through proxies) and whatever else a fault cannot do without
  inject(world, rng)   makes the fault and ends it again before it returns, or returns a callable that ends it. Runs in a thread of
            its own, next to other faults; rng (random.Random) is seeded by the run, and is the only source of chance

What `world` has:
  world.capture, world.sinks       Process: .name .pid .alive .kill(sig) .start() .stop() .restart() .log_path .state_dir .env .args
  world.add_sink() -> Process, world.remove_sink(process)
  world.expected(process)          with world.expected(p): ... the process may end meanwhile (kill() and stop() say so themselves)
  world.restart_expected(process)  the process may end once from now on, and is started again by the runner
  world.kafka                      .address .direct .pid .kill(sig) .start() .stop() .admin
  world.source_pg, .destination_pg .url .direct .data_dir .pid .connect() .sql(q, *args) .restart_immediate() .stop(mode) .start()
  world.proxy(name)                'kafka' | 'source' | 'destination': a Proxy of tests/chaos/proxy.py
  world.topics                     .prefix .events (names) .versions .dlq .all
  world.workload                   .pause() .resume()
  world.oracle                     .note_restored(): the destination was put back to an older state; .topic_cut(topic)
  world.lock(name)                 a lock by name, for faults that must not overlap: with world.lock('destination'): ...
  world.note(text)                 a line in the printed schedule
  world.stopping                   threading.Event, set when faults are to end early
"""
import contextlib, json, os, signal, subprocess, sys, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import ROOT, Kafka, Postgres, free_port


class Process:
    """One lockstep. It keeps name, configuration, log and state directory over restarts."""

    def __init__(self, world, name, args):
        self.world, self.name, self.args = world, name, list(args)
        self.env = {'LOCKSTEP_CLOCK': f'{world.dir}/clock-{name}'}  # a file that need not be there
        self.state_dir, self.log_path, self.config = f'{world.dir}/state-{name}', f'{world.dir}/{name}.log', f'{world.dir}/{name}.yaml'
        self.popen, self.lock, self.allowed, self.wanted, self.again = None, threading.RLock(), 0, False, 0
        os.makedirs(self.state_dir, exist_ok=True)
        world.write_config(self)

    @property
    def pid(self):
        return self.popen.pid if self.alive else None

    @property
    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def start(self):
        with self.lock:
            if self.alive:
                return
            with open(self.log_path, 'ab') as log:
                self.popen = subprocess.Popen([self.world.binary, '-c', self.config, *self.args], stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=subprocess.STDOUT, start_new_session=True, cwd=self.world.dir,
                                              env={**os.environ, **self.world.env, **self.env})
            self.wanted = True

    def kill(self, sig=signal.SIGKILL):
        """SIGKILL and SIGTERM wait for the end; SIGSTOP and SIGCONT are only sent."""
        with self.lock:
            if sig in (signal.SIGKILL, signal.SIGTERM):
                self.wanted = False
            if self.alive:
                self.popen.send_signal(sig)
            if sig == signal.SIGKILL and self.popen:
                self.popen.wait(30)

    def stop(self, seconds=60):
        """SIGTERM, and the exit code; what does not end in time is a violation, and killed."""
        with self.lock:
            self.wanted = False
            if not self.alive:
                return None
            self.popen.send_signal(signal.SIGCONT)
            self.popen.send_signal(signal.SIGTERM)
            try:
                code = self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.world.violation('process', f'{self.name} did not stop within {seconds} s of SIGTERM')
                self.popen.kill()
                return self.popen.wait(30)
        # Before its lanes are there nothing has to be brought to an end: the signal itself ends it.
        if code not in (0, -signal.SIGTERM):
            self.world.violation('process', f'{self.name} ended with {code} after SIGTERM: {self.tail(3)}')
        return code

    def restart(self):
        with self.lock:
            self.stop()
            self.start()

    def tail(self, lines=12):
        with open(self.log_path, errors='replace') as f:
            return '\n'.join(f.read().splitlines()[-lines:])


class Topics:
    def __init__(self, prefix, entities, destination, source):
        self.prefix = prefix
        self.events = [f'{prefix}.{e}' for e in entities]
        self.versions = [f'{prefix}.{e}.versions.{destination}' for e in entities]
        self.dlq, self.source_dlq, self.schemas = f'{prefix}.dlq.{destination}', f'{prefix}.dlq.{source}', f'{prefix}.schemas'
        self.positions = f'{prefix}.positions'

    @property
    def all(self):
        return [*self.events, *self.versions, self.dlq, self.schemas, self.positions]


class World:
    def __init__(self, directory, binary, entities, settings, sinks=3, proxies=True, ledger='full', after=None, out=sys.stdout):
        """entities: [(entity, table, key columns)]; settings: keys that go over what the bench configures; after: a run that is over and whose servers
        are taken over."""
        self.dir, self.binary, self.entities, self.settings, self.ledger, self.out = directory, binary, entities, settings, ledger, out
        self.env, self.notes, self.violations, self.exits = {}, [], [], []
        self.stopping, self.began = threading.Event(), time.monotonic()
        self.workload = self.oracle = None
        self.locks, self.guard, self.sink_number = {}, threading.RLock(), 0
        os.makedirs(directory, exist_ok=True)
        self.turn = after.turn + 1 if after else 0
        self.topics = Topics(f'chaos{self.turn}', [e for e, _, _ in entities], 'warehouse', 'crm')
        self.ports = after.ports if after else {name: free_port() for name in ('kafka', 'source', 'destination')} if proxies else {}
        self.toxiproxy = after.toxiproxy if after else None
        self.kafka = after.kafka if after else Kafka(f'{directory}/kafka', self.ports.get('kafka'))
        self.source_pg = after.source_pg if after else Postgres(f'{directory}/source', self.ports.get('source'))
        self.destination_pg = after.destination_pg if after else Postgres(f'{directory}/destination', self.ports.get('destination'))
        if after:
            for server in (self.source_pg, self.destination_pg):
                server.another(f'chaos{self.turn}')
        self.capture, self.sinks, self.left = Process(self, 'capture', ['capture']), [], []
        for _ in range(sinks):
            self.new_sink()

    # ---- up and down ----

    def up(self):
        """Servers and proxies; lockstep's processes are started by the run, once the tables are there."""
        if self.turn:
            return
        work = [threading.Thread(target=f) for f in (self.kafka.start, self.source_pg.init, self.destination_pg.init)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        for server in (self.source_pg, self.destination_pg):
            if not server.running:
                raise RuntimeError(f'PostgreSQL in {server.data_dir} does not run')
        from confluent_kafka.admin import AdminClient
        self.kafka.admin = AdminClient({'bootstrap.servers': self.kafka.direct, 'log_level': 2})
        if self.ports:
            self.start_proxies()

    def start_proxies(self):
        from proxy import Toxiproxy
        self.toxiproxy = Toxiproxy(f'{self.dir}/toxiproxy', free_port())
        self.toxiproxy.proxy('kafka', f'127.0.0.1:{self.kafka.port}', kind='kafka', port=self.ports['kafka'])
        for name, server in (('source', self.source_pg), ('destination', self.destination_pg)):
            self.toxiproxy.proxy(name, f'127.0.0.1:{server.port}', port=self.ports[name])

    def end_processes(self):
        for process in (self.capture, *self.sinks, *self.left):
            process.kill()

    def down(self):
        self.end_processes()
        if self.toxiproxy:
            with contextlib.suppress(Exception):
                self.toxiproxy.close()
        self.kafka.kill()
        for server in (self.source_pg, self.destination_pg):
            with contextlib.suppress(Exception):
                server.stop('immediate')

    # ---- lockstep's processes ----

    def write_config(self, process):
        config = {
            'kafka': {'bootstrap.servers': self.kafka.address, 'session.timeout.ms': 6000, 'reconnect.backoff.max.ms': 1000},
            'topics': {'prefix': self.topics.prefix, 'partitions': 6, 'replication_factor': 1},
            'state_dir': process.state_dir,
            'entities': [{'name': e, 'key': list(key)} for e, _, key in self.entities],
            'sources': [{'name': 'crm', 'type': 'postgres', 'url': self.source_pg.url,
                         'tables': [{'table': f'public.{t}', 'entity': e} for e, t, _ in self.entities]}],
            'destinations': [{'name': 'warehouse', 'type': 'postgres', 'url': self.destination_pg.url, 'ledger': self.ledger,
                              # Faults come every few seconds here; an operator's half minute of rest would hide most of them.
                              'retry': {'initial_ms': 100, 'max_ms': 2000}, 'breaker': {'failures': 20, 'cooldown_s': 2},
                              'tables': [{'entity': e, 'table': f'public.{t}'} for e, t, _ in self.entities]}],
        }
        for key, value in self.settings.items():
            if isinstance(value, dict):
                config.setdefault(key, {}).update(value)
            else:
                config[key] = value
        with open(process.config, 'w') as f:
            json.dump(config, f, indent=1)  # JSON is YAML

    def new_sink(self):
        with self.guard:
            self.sink_number += 1
            sink = Process(self, f'sink-{self.sink_number}', ['sink'])
            self.sinks.append(sink)
            return sink

    def add_sink(self):
        sink = self.new_sink()
        sink.start()
        return sink

    def remove_sink(self, sink):
        with self.guard:
            self.sinks.remove(sink)
            self.left.append(sink)
        sink.stop()

    @contextlib.contextmanager
    def expected(self, process):
        with process.lock:
            process.allowed += 1
        try:
            yield
        finally:
            with process.lock:
                process.allowed -= 1

    def restart_expected(self, process):
        with process.lock:
            process.again += 1

    def look_after(self):
        """Starts again what ended by itself, as a service manager would; an end that nobody expected is noted, a crash is a violation."""
        for process in (self.capture, *list(self.sinks)):
            with process.lock:
                if not process.wanted or process.alive or process.allowed:
                    continue
                code = process.popen.returncode
                if process.again:
                    process.again -= 1
                else:
                    self.exits.append((process.name, code))
                    self.note(f'{process.name} ended by itself with {code}: {process.tail(1)[:300]}')
                    if code < 0 or code in (3, 7, 66):
                        self.violation('process', f'{process.name} ended with {code}: {process.tail(4)}')
                process.start()

    # ---- for faults ----

    def proxy(self, name):
        return self.toxiproxy.proxies[name]

    def lock(self, name):
        with self.guard:
            return self.locks.setdefault(name, threading.RLock())

    def elapsed(self):
        return time.monotonic() - self.began

    def note(self, text):
        line = f'{self.elapsed():7.1f}  {text}'
        with self.guard:
            self.notes.append(line)
            print(line, file=self.out, flush=True)

    def violation(self, kind, text):
        with self.guard:
            self.violations.append((kind, text))
        self.note(f'VIOLATION {kind}: {text}')
