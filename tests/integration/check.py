"""`lockstep check`: what it calls safe, what it calls unsafe and the fix it names, and that nothing of it stays behind."""
import json, os, re, shutil, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from confluent_kafka.admin import NewTopic
from lockstep_test import Scenario, free_port, main, wait_for

TEN = ['BigQuery connection', 'Twenty connection', 'Supabase connection', 'error reporting', 'ledger (CDC) tables', 'data integrity',
       'rate limiting', 'conflict resolution', 'error handling', 'idempotency']


class OtherServer:
    """A PostgreSQL of its own that asks for passwords and has not wal_level = logical."""
    password = 'right-horse-battery'

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix='lockstep-check-', dir='/var/tmp')
        self.port = free_port()
        found = sorted((d for d in os.listdir('/usr/lib/postgresql') if d.isdigit()), key=int) if os.path.isdir('/usr/lib/postgresql') else []
        self.bin = f'/usr/lib/postgresql/{found[-1]}/bin' if found else os.path.dirname(os.path.realpath(shutil.which('initdb')))
        with open(f'{self.dir}/password', 'w') as f:
            f.write(self.password)
        if os.geteuid() == 0:
            shutil.chown(self.dir, 'postgres')
            shutil.chown(f'{self.dir}/password', 'postgres')
        self.call('initdb', '-D', f'{self.dir}/data', '-U', 'postgres', '-A', 'scram-sha-256', f'--pwfile={self.dir}/password', '--no-sync')
        self.call('pg_ctl', '-D', f'{self.dir}/data', '-w', '-l', f'{self.dir}/log', '-o',
                  f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c wal_level=replica -c fsync=off", 'start')

    def call(self, name, *args):
        user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups'] if os.geteuid() == 0 else []
        subprocess.run([*user, f'{self.bin}/{name}', *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd='/')

    def url(self, password):
        return f'postgresql://postgres:{password}@127.0.0.1:{self.port}/postgres'

    def close(self):
        self.call('pg_ctl', '-D', f'{self.dir}/data', '-m', 'immediate', '-w', 'stop')
        shutil.rmtree(self.dir, ignore_errors=True)


class Check(Scenario):
    def prepare(self, create_topics=False, **more):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, email text)')
        w.configure(partitions=2, **more)
        if create_topics:
            w.run('topics', 'create')
        return w

    def rewrite(self, change):
        change(self.world.settings)
        self.world.write(self.world.config_file, self.world.settings)

    def report(self, *flags):
        """(exit code, the report as JSON); every output of check is looked through for passwords."""
        done = self.world.run('check', '--json', *flags, ok=False, timeout=60)
        self.assertNotRegex(done.stdout + done.stderr, r'horse-battery')
        return done.returncode, json.loads(done.stdout)

    def findings(self, report, level):
        return [(c['name'], f) for c in report['checks'] for f in c['findings'] if f['level'] == level]

    def unsafe(self, check, measured, fix):
        """check says UNSAFE for exactly this reason, names the fix; run refuses with 7 and says how to go on."""
        code, report = self.report()
        self.assertEqual((code, report['verdict']), (7, 'UNSAFE'), report)
        failed = self.findings(report, 'FAILED')
        hits = [f for name, f in failed if name == check and re.search(measured, f['measured'])]
        self.assertTrue(hits, failed)
        self.assertTrue(any(re.search(fix, f['fix']) for f in hits), hits)
        for name, f in failed:
            self.assertTrue(f['fix'], f'{name}: a failure without a fix: {f}')
        return report

    def refused(self):
        run = self.world.run('run', ok=False, timeout=60)
        self.assertEqual(run.returncode, 7, run.stderr)
        self.assertIn('--skip-check', run.stderr)
        self.assertIn('FAILED', run.stderr)
        self.assertNotRegex(run.stdout + run.stderr, r'horse-battery')

    def things(self):
        """Everything that a check might leave: topics, and schemas, tables, slots, publications, roles of both databases."""
        w = self.world
        query = """select 'schema', nspname::text from pg_namespace where nspname !~ '^pg_(toast_)?temp' union all select 'table', oid::regclass::text from pg_class where relnamespace::regnamespace::text
                     not in ('pg_catalog', 'pg_toast', 'information_schema') union all select 'slot', slot_name::text from pg_replication_slots where database = current_database()
                   union all select 'publication', pubname::text from pg_publication union all select 'function', oid::regprocedure::text from pg_proc
                     where pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema') order by 1, 2"""
        topics = sorted(t for t in w.admin.list_topics(timeout=10).topics if t.startswith(w.prefix))
        ends = {t: w.ends(t) for t in topics}
        return ends, w.source.sql(query), w.destination.sql(query)

    # ---- safe ----

    def test_a_healthy_pair_is_safe_with_warnings_and_the_ten_checks_are_there(self):
        self.prepare(create_topics=True)
        code, report = self.report()
        self.assertEqual((code, report['verdict']), (0, 'SAFE_WITH_WARNINGS'), report)
        self.assertEqual([c['name'] for c in report['checks']][:10], TEN)
        self.assertEqual([c['name'] for c in report['checks']][10:], ['PostgreSQL', 'Kafka'])
        for check in report['checks']:
            self.assertEqual(set(check), {'name', 'level', 'findings'})
            self.assertTrue(check['findings'])
            for finding in check['findings']:
                self.assertEqual(set(finding), {'level', 'subject', 'measured', 'fix'})
                self.assertTrue(finding['measured'])
        self.assertEqual(self.findings(report, 'FAILED'), [])

    def test_three_checks_are_tried_on_topics_and_on_tables(self):
        self.prepare()
        _, report = self.report()
        for name, words in (('conflict resolution', 'version 10 won against version 5'), ('error handling', 'byte for byte'),
                            ('idempotency', 'decided once')):
            said = [f for c in report['checks'] if c['name'] == name for f in c['findings']]
            self.assertEqual({f['level'] for f in said}, {'OK'}, said)
            self.assertTrue(any(words in f['measured'] and f['subject'] == 'scratch topics' for f in said), said)
            self.assertTrue(any('scratch tables' in f['measured'] for f in said), said)

    def test_nothing_is_left_behind(self):
        self.prepare(create_topics=True)
        before = self.things()
        self.report()
        self.world.run('check')
        wait_for(lambda: self.things()[0].keys() == before[0].keys(), 15, 'Kafka to finish deleting')
        self.assertEqual(self.things(), before)

    def test_strict_makes_warnings_unsafe(self):
        self.prepare()
        self.assertEqual(self.report('--strict')[0], 7)
        self.assertEqual(self.report()[0], 0)

    def test_schemas_published_unasked_are_a_warning(self):
        self.prepare(schema_compatibility='none')
        _, report = self.report()
        self.assertEqual([f['subject'] for _, f in self.findings(report, 'WARNING') if f['subject'] == 'schemas'], ['schemas'])

    def test_what_is_true_of_many_is_said_once(self):
        w = self.world
        tables = [f'things{i}' for i in range(12)]
        for db in (w.source, w.destination):
            for t in tables:
                db.sql(f'create table {t} (id bigint primary key)')
        w.configure(tables=tables, partitions=1)
        w.run('topics', 'create')
        _, report = self.report()
        copies = [f for _, f in self.findings(report, 'WARNING') if 'one copy' in f['measured']]
        self.assertEqual(len(copies), 1, copies)
        self.assertRegex(copies[0]['measured'], r'^\d\d have one copy.*and \d\d more')
        text = w.run('check').stdout
        self.assertLess(len(text.splitlines()), 80, text)
        self.assertIn('more of the same', text)

    def test_what_is_asked_for_and_not_there_is_said(self):
        w = self.prepare()

        def ask(settings):
            settings['destinations'][0].update(conflict='source_wins', rate_limit=100, backup='before_first_run')
            settings['destinations'][0]['tables'][0]['guard'] = 'commit_timestamp'
        self.rewrite(ask)
        report = self.unsafe('conflict resolution', 'strategy other than last_write_wins has no effect', 'take it out')
        self.assertEqual(sorted(f['measured'] for _, f in self.findings(report, 'FAILED')),
                         ['a conflict strategy other than last_write_wins has no effect in this version',
                          'guard: commit_timestamp of entity "contact" keeps local edits, and nothing captures them'])
        said = [f['measured'] for name, f in self.findings(report, 'WARNING') if name == 'rate limiting']
        self.assertEqual(said, ['rate_limit has no effect in this version', 'backup has no effect in this version'])

    # ---- unsafe: Kafka ----

    def topic(self, name, partitions, policy):
        """A topic made by another hand, waited for until the broker tells of it."""
        w = self.world
        w.admin.create_topics([NewTopic(name, partitions, 1, config={'cleanup.policy': policy})])[name].result(20)
        wait_for(lambda: len(w.partitions(name)) == partitions, 20, f'{name} to be known')

    def test_kafka_that_is_away_is_one_failure_and_soon_said(self):
        self.prepare()
        self.rewrite(lambda s: s['kafka'].update({'bootstrap.servers': '127.0.0.1:1'}))
        report = self.unsafe('Kafka', 'did not answer', 'bootstrap.servers')
        self.assertEqual(len([f for n, f in self.findings(report, 'FAILED') if n == 'Kafka']), 1)
        untried = [n for n, f in self.findings(report, 'WARNING') if 'could not be tried' in f['measured']]
        self.assertEqual(sorted(untried), ['conflict resolution', 'error handling', 'idempotency'])
        self.refused()

    def test_a_versions_topic_that_is_not_compacted(self):
        w = self.prepare()
        name = w.topic(suffix='.versions.warehouse')
        self.topic(name, 2, 'delete')
        report = self.unsafe('Kafka', 'cleanup.policy is delete, it must be compact', r'cleanup.policy=\[?compact')
        self.assertEqual(len(self.findings(report, 'FAILED')), 1, report)

    def test_an_events_topic_that_is_compacted(self):
        w = self.prepare()
        self.topic(w.topic(), 2, 'compact')
        self.unsafe('Kafka', 'cleanup.policy is compact, it must be delete', 'cleanup.policy=.delete')

    def test_a_versions_topic_with_other_partitions_than_its_events(self):
        w = self.prepare()
        name = w.topic(suffix='.versions.warehouse')
        self.topic(w.topic(), 3, 'delete')
        self.topic(name, 2, 'compact')
        self.unsafe('Kafka', 'has 2 partitions, but .* has 3', 'topics create')
        self.refused()

    # ---- unsafe: the source ----

    def test_a_database_that_is_away(self):
        self.prepare()
        self.rewrite(lambda s: s['sources'][0].update(url='postgresql://postgres:secret-horse-battery@127.0.0.1:1/nowhere'))
        self.unsafe('PostgreSQL', 'refused', 'start the server')
        self.refused()

    def test_a_destination_that_is_away(self):
        self.prepare()
        self.rewrite(lambda s: s['destinations'][0].update(url='postgresql://postgres:secret-horse-battery@127.0.0.1:1/nowhere'))
        self.unsafe('PostgreSQL', 'refused', 'url')
        self.refused()

    def test_a_wrong_password_and_a_log_that_is_not_logical(self):
        self.prepare()
        server = OtherServer()
        try:
            for side in ('sources', 'destinations'):
                kept = self.world.settings[side][0]['url']
                self.rewrite(lambda s: s[side][0].update(url=server.url('wrong-horse-battery')))
                self.unsafe('PostgreSQL', 'password authentication failed', 'password|url')
                self.rewrite(lambda s: s[side][0].update(url=kept))
            self.refused_with_wrong_password(server)
            self.rewrite(lambda s: s['sources'][0].update(url=server.url(server.password)))
            self.unsafe('PostgreSQL', 'wal_level is replica', 'ALTER SYSTEM SET wal_level = logical')
        finally:
            server.close()

    def refused_with_wrong_password(self, server):
        kept = self.world.settings['sources'][0]['url']
        self.rewrite(lambda s: s['sources'][0].update(url=server.url('wrong-horse-battery')))
        self.refused()
        self.rewrite(lambda s: s['sources'][0].update(url=kept))

    def role(self, name):
        """A role that may log in and no more; dropped at the end."""
        w = self.world
        name = f'{name}_{w.prefix}'.replace('-', '_')[:60]
        w.maintenance.sql(f'create role {name} login')

        def drop():
            from lockstep_test import Database, database_url
            for db in (w.source, w.destination):
                db = Database(database_url(w.servers.pg, db.name))
                db.sql(f'drop owned by {name}')
                db.close()
            w.maintenance.sql(f'drop role {name}')
        return name, drop

    def test_missing_privileges(self):
        w = self.prepare()
        name, drop = self.role('poor')
        try:
            self.rewrite(lambda s: s['sources'][0].update(url=w.source.url.replace('postgres@', f'{name}@')))
            self.unsafe('PostgreSQL', 'may not replicate', 'REPLICATION')
            self.unsafe('PostgreSQL', 'table public.contacts may not be read', 'GRANT SELECT ON public.contacts')
            self.rewrite(lambda s: (s['sources'][0].update(url=w.source.url),
                                    s['destinations'][0].update(url=w.destination.url.replace('postgres@', f'{name}@'))))
            self.unsafe('data integrity', 'cannot be read and written', 'GRANT SELECT, INSERT, UPDATE, DELETE')
            self.unsafe('ledger (CDC) tables', 'may not create', 'CREATE')
            w.maintenance.sql(f'alter role {name} replication')
            w.source.sql(f'grant select on contacts to {name}')
            self.rewrite(lambda s: (s['sources'][0].update(url=w.source.url.replace('postgres@', f'{name}@')),
                                    s['destinations'][0].update(url=w.destination.url)))
            self.unsafe('PostgreSQL', 'belongs to another role', 'OWNER')
        finally:
            drop()

    def test_a_table_that_is_missing(self):
        self.prepare()
        self.rewrite(lambda s: s['sources'][0]['tables'][0].update(table='public.kontacts'))
        self.unsafe('PostgreSQL', 'public.kontacts does not exist', 'name')
        self.rewrite(lambda s: (s['sources'][0]['tables'][0].update(table='public.contacts'), s['destinations'][0]['tables'][0].update(table='public.kontacts'),
                                s['destinations'][0].update(on_missing_table='fail')))
        self.unsafe('data integrity', 'public.kontacts does not exist', 'create')

    def test_a_source_without_a_key(self):
        w = self.prepare()
        w.source.sql('alter table contacts drop constraint contacts_pkey')
        self.unsafe('PostgreSQL', 'no replica identity', 'REPLICA IDENTITY FULL')

    def test_replica_identity_nothing(self):
        w = self.prepare()
        w.source.sql('alter table contacts replica identity nothing')
        self.unsafe('PostgreSQL', 'no replica identity', 'REPLICA IDENTITY')

    def test_a_destination_without_a_key(self):
        w = self.prepare()
        w.destination.sql('alter table contacts drop constraint contacts_pkey')
        self.unsafe('data integrity', 'no unique index on the key', 'primary key or unique index')

    def test_a_key_that_the_table_does_not_have(self):
        self.prepare()
        self.rewrite(lambda s: s['entities'][0].update(key=['idd']))
        self.unsafe('data integrity', '0 of the 1 key fields', 'key')
        self.unsafe('PostgreSQL', 'column "idd" does not exist', 'key')

    def test_a_key_that_repeats(self):
        w = self.prepare()
        w.source.sql("insert into contacts values (1, 'x', 'a'), (2, 'x', 'b')")
        self.rewrite(lambda s: s['entities'][0].update(key=['name']))
        self.unsafe('data integrity', '1 keys occur twice', 'key that every row has')

    def test_clocks_that_are_far_apart(self):
        w = self.prepare()
        w.source.sql("""set allow_system_table_mods = on;
            alter function pg_catalog.clock_timestamp() rename to clock_timestamp_of_old;
            create function pg_catalog.clock_timestamp() returns timestamptz language sql as $$ select pg_catalog.clock_timestamp_of_old() + interval '10 minutes' $$;
            reset allow_system_table_mods""")
        self.unsafe('PostgreSQL', r"clock differs from this machine's by (599|600)\d\d\d ms", 'NTP')

    # ---- unsafe: the configuration ----

    def test_a_masked_field_that_is_misspelt(self):
        self.prepare()
        self.rewrite(lambda s: s['sources'][0].update(mask={'emial': 'redact'}))
        self.unsafe('data integrity', r'mask names field "emial".*did you mean "email"', 'correct the name')
        self.rewrite(lambda s: (s['sources'][0].pop('mask'), s['sources'][0]['tables'][0].update(filter={'nmae': 'x'})))
        self.unsafe('data integrity', r'filter names field "nmae".*did you mean "name"', 'correct the name')
        self.refused()

    def test_a_mask_of_the_whole_source_need_fit_one_of_its_tables_only(self):
        w = self.prepare()
        for db in (w.source, w.destination):
            db.sql('create table orders (id bigint primary key, total numeric)')
        w.configure(tables=('contacts', 'orders'), partitions=2)
        self.rewrite(lambda s: s['sources'][0].update(mask={'email': 'redact'}))
        code, report = self.report()
        self.assertEqual(code, 0, self.findings(report, 'FAILED'))
        self.rewrite(lambda s: s['sources'][0].update(mask={'emails': 'redact'}))
        self.unsafe('data integrity', r'did you mean "email"', 'correct')

    def test_more_writers_than_a_version_state_can_tell_apart(self):
        w = self.prepare()
        self.rewrite(lambda s: s.update(sources=[{'name': f'crm{i}', 'type': 'postgres', 'url': w.source.url,
                                                 'tables': [{'table': 'public.contacts', 'entity': 'contact'}]} for i in range(33)]))
        self.unsafe('conflict resolution', '33 sources write it', 'fewer sources')


main()
