"""What an operator sees: health, readiness, metrics, exit codes, a graceful end, waiting for servers that are away."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class Readiness(Scenario):
    def prepare(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text)')
        w.configure()
        return w

    def test_health_readiness_and_metrics_are_served(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        self.assertEqual(w.get(run, '/healthz')[0], 200)
        w.source.sql("insert into contacts select i, 'x' from generate_series(1, 100) i")
        w.settle()
        status, text = w.get(run, '/metrics')
        self.assertEqual(status, 200)
        applied = [line for line in text.splitlines() if line.startswith('lockstep_applied_total{')]
        self.assertEqual(sum(float(line.rsplit(' ', 1)[1]) for line in applied), 100, text)
        self.assertIn('# TYPE lockstep_applied_total counter', text)
        self.assertEqual(w.get(run, '/nowhere')[0], 404)

    def test_the_commands_check_and_status_speak(self):
        w = self.prepare()
        check = w.run('check', ok=False)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        self.assertRegex(check.stdout, r'SAFE')
        report = w.json('check')
        self.assertIn('SAFE', str(report))
        w.start('run', wait=True)
        w.source.sql("insert into contacts values (7, 'x')")
        w.settle()
        self.assertIn('warehouse', w.run('status').stdout)
        w.json('status')
        entity = w.json('status', 'contact', '7')
        self.assertEqual(entity['entity_id'], '7')
        self.assertEqual(entity['entity_type'], 'contact')
        self.assertIn('cdc', entity)
        self.assertIn('polling', entity)
        names = w.run('topics', 'list').stdout
        self.assertIn(f'{w.prefix}.contact', names)

    def test_sigterm_drains_and_ends_with_zero(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts select i, 'x' from generate_series(1, 20000) i")
        wait_for(lambda: w.published() > 0, 30, 'the first events', every=0.02)
        self.assertEqual(run.stop(60), 0)
        w.start('run', '--skip-check', wait=True)
        w.settle()
        self.assertIsNone(w.same('contacts'))

    def test_exit_codes_say_what_kind_of_wrong_it_is(self):
        w = self.prepare()
        self.assertEqual(w.run('nonsense', ok=False).returncode, 2)
        self.assertEqual(w.run('publish', '--nonsense', ok=False).returncode, 2)
        bad = f'{w.dir}/bad.yaml'
        w.write(bad, {**w.settings, 'tables': 1})
        done = w.run('check', config=bad, ok=False)
        self.assertEqual(done.returncode, 3)
        self.assertRegex(done.stderr, r'bad\.yaml:\d+:\d+: ')
        self.assertEqual(w.run('check', config=f'{w.dir}/missing.yaml', ok=False).returncode, 3)
        w.write(bad, {**w.settings, 'kafka': {'bootstrap.servers': '127.0.0.1:1'}})
        self.assertEqual(w.run('topics', 'list', config=bad, ok=False).returncode, 5)

    def test_secrets_are_never_shown(self):
        w = self.prepare()
        secret = 'correct-horse-battery'
        url = w.source.url.replace('postgres@', f'postgres:{secret}@')
        w.settings['sources'][0]['url'] = url.rsplit('/', 1)[0] + '/no_such_database'
        w.write(w.config_file, w.settings)
        done = w.run('check', ok=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(secret, done.stdout + done.stderr)
        capture = w.start('capture')
        wait_for(lambda: 'no_such_database' in capture.text() or capture.ended(), 20, 'capture to complain')
        self.assertNotIn(secret, capture.text())

    def test_a_destination_that_comes_back_is_used_again(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts values (1, 'before')")
        w.settle()
        w.destination.sql('alter table contacts rename to away')
        w.destination.sql('alter table away rename to contacts')
        w.maintenance.sql(f'alter database {w.destination.name} allow_connections false')
        w.maintenance.sql('select pg_terminate_backend(pid) from pg_stat_activity where datname = %s', w.destination.name)
        w.source.sql("insert into contacts values (2, 'meanwhile')")
        wait_for(lambda: 'not currently accepting connections' in run.text(), 60, 'the log to say so', alive=[run])
        w.maintenance.sql(f'alter database {w.destination.name} allow_connections true')
        w.destination.close()
        del w.databases['dst']
        from lockstep_test import Database, database_url
        w.destination = w.databases['dst'] = Database(database_url(w.servers.pg, f"it_{w.name}_dst".replace('-', '_')))
        w.destination.name = f"it_{w.name}_dst".replace('-', '_')
        wait_for(lambda: w.destination.one('select count(*) from contacts') == 2, 60, 'the change of meanwhile', alive=[run])


main()
