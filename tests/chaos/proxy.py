"""Toxiproxy between lockstep and its servers: connections that are slow, cut, mute or narrow, and whole again afterwards.

    with Toxiproxy(directory) as server:
        kafka = server.proxy('kafka', '127.0.0.1:9092', kind='kafka')
        kafka.address        where lockstep connects; a Kafka must advertise it: compose/stack up --advertise
        kafka.delay(200)     until kafka.heal()

The binary is built once from its Go module, under build/chaos.
"""
import contextlib, fcntl, json, os, socket, subprocess, threading, time, urllib.error, urllib.request

from frames import FrameProxy

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
MODULE = 'github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0'  # the newest that Go 1.19 builds
BIN = f'{ROOT}/build/chaos/bin'


def binary():
    """The path of the server's binary, built when it is not there yet."""
    path = f'{BIN}/toxiproxy-2.5.0'
    os.makedirs(BIN, exist_ok=True)
    with open(f'{BIN}/lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.access(path, os.X_OK):
            env = {**os.environ, 'GOBIN': BIN, 'CGO_ENABLED': '0', 'GOFLAGS': '-buildvcs=false'}
            done = subprocess.run(['go', 'install', MODULE], env=env, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f'toxiproxy could not be built (compose/deps chaos brings Go): {done.stderr[-1000:]}')
            os.rename(f'{BIN}/server', path)
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Toxiproxy:
    """The server, a process of ours, and its proxies by name."""

    def __init__(self, directory, port=None):
        os.makedirs(directory, exist_ok=True)
        self.port, self.proxies = port or free_port(), {}
        with open(f'{directory}/toxiproxy.log', 'ab') as log:
            self.popen = subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', binary(), '-host', '127.0.0.1', '-port', str(self.port)], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, 'LOG_LEVEL': 'warn'})
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                self.call('GET', '/version')
                return
            if self.popen.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f'toxiproxy does not answer: see {directory}/toxiproxy.log')
            time.sleep(0.05)

    def call(self, method, path, body=None):
        request = urllib.request.Request(f'http://127.0.0.1:{self.port}{path}', method=method, data=json.dumps(body).encode() if body is not None else None,
                                         headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.read()
        except urllib.error.HTTPError as e:
            raise RuntimeError(f'toxiproxy: {method} {path}: {e.code} {e.read().decode()}') from None

    def proxy(self, name, upstream, kind='postgres', port=None):
        """A new Proxy; port: where it listens, any free one without."""
        self.proxies[name] = Proxy(self, name, upstream, kind, port or free_port())
        return self.proxies[name]

    def close(self):
        for proxy in self.proxies.values():
            proxy.close()
        self.popen.terminate()
        self.popen.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Proxy:
    """One way into one server. One fault at a time: hold() keeps others waiting, and heals at its end."""

    def __init__(self, server, name, upstream, kind, port):
        self.server, self.name, self.upstream, self.kind = server, name, upstream, kind
        self.address, self.port, self.lock, self.frames = f'127.0.0.1:{port}', port, threading.Lock(), None
        self.toxics = []
        server.call('POST', '/proxies', {'name': name, 'listen': self.address, 'upstream': upstream, 'enabled': True})

    @contextlib.contextmanager
    def hold(self):
        with self.lock:
            try:
                yield self
            finally:
                self.heal()

    def change(self, **more):
        self.server.call('POST', f'/proxies/{self.name}', {'name': self.name, 'listen': self.address, 'upstream': self.upstream, 'enabled': True, **more})

    def toxic(self, kind, stream, **attributes):
        name = f'{kind}_{stream}'
        self.server.call('POST', f'/proxies/{self.name}/toxics', {'name': name, 'type': kind, 'stream': stream, 'attributes': attributes})
        self.toxics.append(name)

    def delay(self, ms, jitter=0):
        """Every answer comes later by ms, give or take the jitter."""
        self.toxic('latency', 'downstream', latency=ms, jitter=jitter)

    def limit(self, kilobytes):
        """So many KB a second, both ways."""
        for stream in ('upstream', 'downstream'):
            self.toxic('bandwidth', stream, rate=kilobytes)

    def blackhole(self):
        """Connections stay, nothing gets through; when healed they are closed."""
        for stream in ('upstream', 'downstream'):
            self.toxic('timeout', stream, timeout=0)

    def cut(self):
        """Connections are closed and new ones refused."""
        self.change(enabled=False)

    def blink(self):
        """Connections are closed, new ones are welcome."""
        self.change(enabled=False)
        self.change()

    def through_frames(self):
        """Connections go through a FrameProxy from now on, those there are are closed. Returns it."""
        self.frames = FrameProxy(self.kind, self.upstream)
        self.blink_to(self.frames.address)
        return self.frames

    def blink_to(self, upstream):
        self.change(enabled=False, upstream=upstream)
        self.change(upstream=upstream)

    def swallow_commit(self, **more):
        return (self.frames or self.through_frames()).swallow_commit(**more)

    def swallow_produce(self, **more):
        return (self.frames or self.through_frames()).swallow_produce(**more)

    def heal(self):
        """As if nothing had been."""
        for name in self.toxics:
            self.server.call('DELETE', f'/proxies/{self.name}/toxics/{name}')
        self.toxics = []
        self.change()
        if self.frames:
            self.frames.close()
            self.frames = None

    def close(self):
        if self.frames:
            self.frames.close()
            self.frames = None
