"""A PostgreSQL server of a test's own, of any version that Maven brings: to be configured, copied, killed and promoted."""
import os, shutil, signal, subprocess, tempfile

from lockstep_test import ROOT, Database, free_port, wait_for

OTHER_USER = {'user': 'postgres', 'group': 'postgres', 'extra_groups': []} if os.getuid() == 0 else {}


def place(test):
    """A directory that the servers' user can walk to, removed when the test has ended."""
    home = tempfile.mkdtemp(prefix='lockstep-servers-', dir='/var/tmp')
    test.addCleanup(shutil.rmtree, home, ignore_errors=True)
    if OTHER_USER:
        shutil.chown(home, 'postgres', 'postgres')
    return home


class Server:
    """One PostgreSQL; never as root."""

    def __init__(self, home, name, version):
        self.bin = subprocess.run([f'{ROOT}/compose/postgres/fetch', str(version)], check=True, capture_output=True, text=True).stdout.strip()
        self.home, self.data, self.port = home, f'{home}/{name}', free_port()
        self.url = f'postgresql://postgres@127.0.0.1:{self.port}/postgres'

    def run(self, program, *args):
        done = subprocess.run([f'{self.bin}/{program}', '-D', self.data, *args], cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120, **OTHER_USER)
        if done.returncode:
            log = f'{self.data}.log'
            raise AssertionError(f'{program} {" ".join(args)}: {done.stdout}{open(log).read()[-2000:] if os.path.exists(log) else ""}')

    def init(self):
        self.run('initdb', '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync')
        self.set(listen_addresses='127.0.0.1', unix_socket_directories=self.home, wal_level='logical', shared_buffers='32MB', fsync='off', wal_keep_size='512MB',
                 max_wal_senders=10, max_replication_slots=10, max_prepared_transactions=10,
                 track_commit_timestamp='on', hot_standby_feedback='on', timezone='UTC')

    def copy(self, other):
        shutil.copytree(other.data, self.data)
        if OTHER_USER:
            subprocess.run(['chown', '-R', 'postgres:', self.data], check=True)
        os.chmod(self.data, 0o700)

    def set(self, **settings):
        with open(f'{self.data}/postgresql.conf', 'a') as f:
            for name, value in settings.items():
                f.write(f"{name} = '{value}'\n")

    def start(self):
        self.run('pg_ctl', '-l', f'{self.data}.log', '-o', f'-p {self.port}', '-w', '-t', '60', 'start')

    def pid(self):
        with open(f'{self.data}/postmaster.pid') as f:
            return int(f.readline())

    def kill(self):
        """As when the machine is gone: nothing is said to anyone, and nothing more is sent to the standby."""
        os.kill(self.pid(), signal.SIGQUIT)
        wait_for(lambda: not os.path.exists(f'{self.data}/postmaster.pid'), 60, 'the server to end')

    def running(self):
        return os.path.exists(f'{self.data}/postmaster.pid')

    def sql(self, query, *args):
        db = Database(self.url)
        try:
            return db.sql(query, *args)
        finally:
            db.close()
