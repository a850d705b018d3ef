"""The oldest and the newest PostgreSQL that are supported, as source and as destination: the short form of tests/versions."""
import os, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import BIN, ROOT, SEED, Database, Scenario, database_url, main, wait_for
from pg_server import Server, place

CONTRACTS = ('test_source_types', 'test_destination')
WORKLOAD = f'{ROOT}/tests/support/workload.sql'


class Versions(Scenario):
    def server(self, home, version):
        server = Server(home, f'v{version}', version)
        server.init()
        server.start()
        self.addCleanup(server.kill)
        return server

    def contracts(self, version):
        """The contract's own tests of source and destination, built beside the binary under test."""
        server = self.server(place(self), version)
        for name in CONTRACTS:
            program = f'{os.path.dirname(BIN)}/tests/contract_{name}'
            if not os.access(program, os.X_OK):
                self.skipTest(f'{program} was not built')
            done = subprocess.run([program], env={**os.environ, 'LS_TEST_PG': server.url}, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, f'{name} on PostgreSQL {version}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}')

    def test_what_source_and_destination_promise_holds_on_postgresql_14(self):
        self.contracts(14)

    def test_what_source_and_destination_promise_holds_on_postgresql_18(self):
        self.contracts(18)

    def test_changes_travel_from_the_oldest_to_the_newest_and_back(self):
        w, home = self.world, place(self)
        old, new = self.server(home, 14), self.server(home, 18)
        for server in (old, new):
            server.sql('create database other')
        for n, (one, two) in enumerate(((old, new), (new, old))):
            w.source, w.destination = (Database(database_url(server.url, 'other' if n else 'postgres')) for server in (one, two))
            with open(WORKLOAD) as f:
                w.source.sql(f.read())
            w.source.sql('alter table contacts replica identity full')
            w.source.sql('call fill(200)')
            entity = f'contact_{n}'
            w.configure(entity=entity, sources=[{'name': f'crm_{n}', 'type': 'postgres', 'url': w.source.url, 'tables': [{'table': 'public.contacts', 'entity': entity}]}],
                        destinations=[{'name': f'warehouse_{n}', 'type': 'postgres', 'url': w.destination.url, 'on_missing_table': 'create',
                                       'tables': [{'entity': entity, 'table': 'public.contacts'}]}])
            running = [w.start('sink', name=f'sink-{n}', wait=True), w.start('capture', name=f'capture-{n}', wait=True)]
            w.source.sql(f'call work(300, {SEED % 1000 / 1000}, 20)')
            wait_for(lambda: w.destination.one("select to_regclass('contacts')") and w.same('contacts') is None, 120, 'equal tables', every=0.5, alive=running)
            for process in running:
                self.assertEqual(process.stop(), 0)


main()
