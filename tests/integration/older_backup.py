"""The destination is put back to an older backup while lockstep works: rows and marks went back together, and all comes again.

It has a PostgreSQL of its own, which is copied by pg_basebackup as an operator would.
"""
import os, shutil, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Database, main, wait_for
from under_fault import ROOT, UnderFault

import psycopg
from servers import Postgres


class OlderBackup(UnderFault):
    server = None

    @classmethod
    def setUpClass(cls):
        cls.server = Postgres(f'{ROOT}/build/tests/older-backup-{os.getpid()}', fsync='off')
        cls.server.init()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop('immediate')
        shutil.rmtree(cls.server.root, ignore_errors=True)

    def fresh(self, name):
        """A database of the server, as Database."""
        url = self.server.direct.rsplit('/', 1)[0]
        with psycopg.connect(f'{url}/postgres', autocommit=True) as c:
            c.execute(f'create database {name}')
        db = Database(f'{url}/{name}')
        db.name = name
        return db

    def back_up(self):
        self.saved = f'{self.server.root}/saved'
        done = self.server.as_postgres(f'{self.server.bin}/pg_basebackup', '-D', self.saved, '-d', self.server.direct, '-c', 'fast', '-X', 'stream')
        self.assertEqual(done.returncode, 0, done.stderr)

    def put_back(self):
        w = self.world
        w.destination.close()
        self.server.stop('immediate')
        shutil.rmtree(self.server.data_dir)
        os.rename(self.saved, self.server.data_dir)
        self.server.start()
        w.destination.conn = psycopg.connect(w.destination.url, autocommit=True)

    def goes_back(self, name, ledger, quiet, lose_state=False):
        w = self.open(destination=self.fresh(name), ledger=ledger)
        w.source.sql('call fill(300)')
        sink, capture = self.sink(), w.start('capture')
        self.equal([sink, capture])
        self.back_up()
        older = w.marks()
        self.work(200)
        self.touch()
        w.source.sql('delete from contacts where id % 10 = 0')
        self.equal([sink, capture])
        newer = w.marks()
        self.assertTrue(any(newer[k] > older[k] for k in older), 'there is something to lose')
        if lose_state:
            sink.kill()
            shutil.rmtree(sink.state)

        self.put_back()
        self.assertIsNotNone(w.same('contacts'), 'rows went back')
        self.assertEqual(w.marks(), older, 'and marks with them')
        if lose_state:
            sink = self.sink()
        if not quiet:
            self.work(100)
        self.equal([sink, capture])
        self.once()

    def test_all_comes_again_with_the_full_ledger_while_the_source_goes_on(self):
        self.goes_back('full_busy', 'full', quiet=False)

    def test_all_comes_again_although_nothing_new_arrives(self):
        self.goes_back('offsets_quiet', 'offsets', quiet=True)

    def test_all_comes_again_where_the_local_state_is_lost_too(self):
        self.goes_back('offsets_lost', 'offsets', quiet=True, lose_state=True)


main()
