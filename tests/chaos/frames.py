"""A proxy that knows where the messages of PostgreSQL and Kafka begin and end, so that it can lose exactly one of them.

What no proxy of bytes can do: let a COMMIT through and lose its reply, or let a batch of records through and lose what the
broker said to it. Everything else passes as it is. One thread for each direction of each connection.
"""
import contextlib, socket, struct, threading

WHOLE = 1 << 16  # a message up to this size is looked at; a larger one passes through in pieces
SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PRODUCE, METADATA, FIND_COORDINATOR = 0, 3, 10


class Gone(Exception):
    """The connection is over."""


class Swallow:
    """Waits for one message: `what` says of which kind, `matching` is part of the request that it belongs to. happens: True,
    False, or None, where the server is to believe for ever that more will come."""

    def __init__(self, what, matching=b'', happens=True):
        self.what, self.matching, self.happens = what, matching, happens
        self.done = threading.Event()
        self.request = None  # bytes of the request whose reply was lost

    def wait(self, seconds):
        return self.done.wait(seconds)


class Link:
    """One connection of a client, and the one to the server behind it."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.up, self.down = client.makefile('rb', WHOLE), server.makefile('rb', WHOLE)

    def cut(self):
        """The client sees its connection reset, as by a firewall that forgot it."""
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        for s in (self.client, self.server):
            if s not in self.proxy.kept:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
        self.proxy.forget(self)

    def run(self, pump):
        with contextlib.suppress(OSError, Gone, ValueError, struct.error):
            pump()
        self.cut()

    def take(self, file, count):
        data = file.read(count)
        if len(data) < count:
            raise Gone
        return data

    def rest(self, file, to, count):
        """Passes on what is left of a message that is too large to be looked at."""
        while count:
            data = file.read1(min(count, WHOLE))
            if not data:
                raise Gone
            to.sendall(data)
            count -= len(data)


class PostgresLink(Link):
    def __init__(self, *args):
        super().__init__(*args)
        self.query = b''

    def start(self):
        """Messages before the startup packet are answered with one byte; then both directions have framed messages."""
        while True:
            head = self.take(self.up, 8)
            size, code = struct.unpack('!ii', head)
            self.server.sendall(head + self.take(self.up, size - 8))
            if code not in (SSL_REQUEST, GSSENC_REQUEST):
                break
            answer = self.take(self.down, 1)
            if answer == b'S':
                raise Gone  # nothing can be read of an encrypted connection: use sslmode=disable
            self.client.sendall(answer)

    def message(self, file):
        head = self.take(file, 5)
        size = struct.unpack('!i', head[1:])[0] - 4
        return head, size, self.take(file, min(size, WHOLE))

    def requests(self):
        self.start()
        threading.Thread(target=self.run, args=(self.replies,), daemon=True).start()
        while True:
            head, size, body = self.message(self.up)
            kind = head[:1]
            if kind in b'QP':
                self.query = body
            if kind == b'c' and self.proxy.caught('commit', self.query, None):
                self.proxy.kept.append(self.server)  # open, and mute: as when the client's machine is gone
                raise Gone
            if kind == b'c' and self.proxy.caught('commit', self.query, False):
                raise Gone  # the script never ends: the server rolls back
            self.server.sendall(head + body)
            self.rest(self.up, self.server, size - len(body))

    def replies(self):
        while True:
            head, size, body = self.message(self.down)
            if head[:1] == b'C' and body == b'COMMIT\0' and self.proxy.caught('commit', self.query, True):
                raise Gone
            self.client.sendall(head + body)
            self.rest(self.down, self.client, size - len(body))


class KafkaLink(Link):
    def __init__(self, *args):
        super().__init__(*args)
        self.produce, self.places = {}, set()  # correlation ids: of records, with the beginning of the request; of where brokers are

    def requests(self):
        threading.Thread(target=self.run, args=(self.replies,), daemon=True).start()
        while True:
            head = self.take(self.up, 4)
            size = struct.unpack('!i', head)[0]
            body = self.take(self.up, min(size, WHOLE))
            key, _, correlation = struct.unpack('!hhi', body[:8])
            if key == PRODUCE:
                if self.proxy.caught('produce', body, False):
                    raise Gone
                self.produce[correlation] = body
            if key in (METADATA, FIND_COORDINATOR):
                self.places.add(correlation)
            self.server.sendall(head + body)
            self.rest(self.up, self.server, size - len(body))

    def replies(self):
        while True:
            head = self.take(self.down, 4)
            size = struct.unpack('!i', head)[0]
            body = self.take(self.down, min(size, WHOLE))
            correlation = struct.unpack('!i', body[:4])[0]
            request = self.produce.pop(correlation, None)
            if request is not None and self.proxy.caught('produce', request, True):
                raise Gone
            if correlation in self.places:
                self.places.discard(correlation)
                body = self.proxy.moved(body)
            self.client.sendall(head + body)
            self.rest(self.down, self.client, size - len(body))


class FrameProxy:
    """Listens on a loopback port (`port` 0: any) and passes connections on to `upstream`. kind: "postgres" or "kafka"."""

    def __init__(self, kind, upstream, port=0):
        self.make = {'postgres': PostgresLink, 'kafka': KafkaLink}[kind]
        self.upstream, self.links, self.waiting, self.kept = upstream, set(), [], []
        self.lock, self.closed = threading.Lock(), False
        self.listener = socket.create_server(('127.0.0.1', port))
        self.port = self.listener.getsockname()[1]
        self.address = f'127.0.0.1:{self.port}'
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        host, port = self.upstream.rsplit(':', 1)
        try:
            server = socket.create_connection((host, int(port)), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = self.make(self, client, server)
        with self.lock:
            self.links.add(link)
        link.run(link.requests)

    def forget(self, link):
        with self.lock:
            self.links.discard(link)

    def moved(self, answer):
        """The same answer of a broker, but it is here and not there: a port has four bytes after the name of its host."""
        host, port = self.upstream.rsplit(':', 1)
        for length in (struct.pack('!h', len(host)), bytes([len(host) + 1])):
            place = length + host.encode()
            answer = answer.replace(place + struct.pack('!i', int(port)), place + struct.pack('!i', self.port))
        return answer

    # ---- what is lost ----

    def swallow_commit(self, matching=b'', happens=True):
        """The next COMMIT of a script with `matching` in it loses its reply, and its connection. happens=False: the server
        never sees the end of the script, so that nothing is committed and the client cannot tell the difference."""
        return self.expect(Swallow('commit', matching, happens))

    def hang_commit(self, matching=b''):
        """The next such script stays open at the server, which hears nothing of its client any more."""
        return self.expect(Swallow('commit', matching, None))

    def swallow_produce(self, matching=b'', happens=True):
        """The same for a produce request; `matching`: a part of it, the topic's name for example."""
        return self.expect(Swallow('produce', matching, happens))

    def expect(self, swallow):
        with self.lock:
            self.waiting.append(swallow)
        return swallow

    def caught(self, what, request, happens):
        with self.lock:
            for swallow in self.waiting:
                if swallow.what == what and swallow.happens == happens and swallow.matching in request:
                    self.waiting.remove(swallow)
                    swallow.request = request
                    swallow.done.set()
                    return True
        return False

    def cut(self):
        """Every connection there is, once."""
        with self.lock:
            links = list(self.links)
        for link in links:
            link.cut()

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for server in self.kept:
            server.close()
