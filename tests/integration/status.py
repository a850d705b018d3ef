"""`lockstep status`, with and without a running process, with parts that do not answer; and the families that run leaves out."""
import os, re, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, Scenario, main, wait_for


class Status(Scenario):
    def prepare(self, **more):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text)')
        w.configure(partitions=2, **more)
        return w

    def garbage(self):
        sender = self.world.producer()
        sender.produce(self.world.topic(), key='1', value=b'garbage')
        sender.flush(20)

    def test_a_running_pair_with_its_totals(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts select i, 'x' from generate_series(1, 100) i")
        w.settle()
        w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'script', '--type', 'UPDATE', '--event-id', 'old', '--version', '5',
              '--data', '{"id": 1, "name": "stale"}')
        self.garbage()
        w.settle()
        root = w.json('status', config=run.config)
        self.assertEqual(set(root), {'kafka', 'sources', 'destinations', 'live'})
        self.assertEqual((root['kafka']['brokers'] > 0, root['kafka']['error']), (True, None))
        source, destination = root['sources'][0], root['destinations'][0]
        self.assertEqual((source['name'], source['type'], source['family'], source['error']), ('crm', 'postgres', 'cdc', None))
        self.assertIn('lsn', source['position'])
        self.assertLess(source['position_age_seconds'], 120)
        self.assertEqual(source['snapshot_tables'], {'done': 1, 'all': 1})
        self.assertEqual(source['published'], 100)
        self.assertEqual({k: destination[k] for k in ('lag_events', 'applied', 'rejected', 'dead', 'dead_this_run', 'lanes_up', 'error')},
                         {'lag_events': 0, 'applied': 100, 'rejected': 1, 'dead': 1, 'dead_this_run': 1, 'lanes_up': 1, 'error': None})
        self.assertTrue(destination['last_dead_reason'])
        ends = {(p['topic'], p['partition']): p['end_offset'] for p in destination['partitions'] if p['end_offset']}
        self.assertEqual(ends, {(w.topic(), p): n for p, n in w.ends(w.topic()).items() if n})
        for p in destination['partitions']:
            self.assertEqual((p['lag_events'], p['lag_seconds'], p['next_offset']), (0, 0, p['end_offset']))
        text = w.run('status', config=run.config).stdout
        self.assertIn('applied 100, rejected 1', text)
        self.assertLess(max(map(len, text.splitlines())), 170, text)
        rows = [line for line in text.splitlines() if line.startswith(f'  {w.topic()} ')]
        self.assertEqual(len({len(row) for row in rows}), 1, rows)

    def test_without_a_process_lag_and_dead_letters_are_known_and_the_rest_is_unknown(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts select i, 'x' from generate_series(1, 10) i")
        self.garbage()
        w.settle()
        self.assertEqual(run.stop(), 0)
        for i in range(7):
            w.run('publish', '--entity', 'contact', '--id', str(i), '--source', 'script', '--type', 'UPDATE', '--data', f'{{"id": {i}, "name": "later"}}')
        time.sleep(1.1)  # the age that is shown must be at least this
        root = w.json('status', config=run.config)
        destination = root['destinations'][0]
        self.assertEqual((destination['lag_events'], destination['dead']), (7, 1))
        self.assertEqual([destination[k] for k in ('applied', 'rejected', 'duplicates', 'retries', 'last_error')], [None] * 5)
        self.assertEqual(sum(p['lag_events'] for p in destination['partitions']), 7)
        behind = [p['lag_seconds'] for p in destination['partitions'] if p['lag_events']]
        self.assertTrue(all(1 < s < 120 for s in behind), behind)
        self.assertGreaterEqual(destination['lag_seconds'], max(behind) - 1)
        self.assertIsNone(root['live'])
        self.assertIsNone(root['sources'][0]['published'])
        self.assertIn('lsn', root['sources'][0]['position'])
        text = w.run('status', config=run.config).stdout
        for word in ('lag 7 events', 'applied unknown', 'rejected unknown', 'dead letters 1', 'no process answers'):
            self.assertIn(word, text)

    def test_a_destination_that_is_away_hides_no_other(self):
        w = self.prepare()
        w.settings['destinations'].insert(0, {**w.settings['destinations'][0], 'name': 'away', 'url': 'postgresql://postgres@127.0.0.1:1/nowhere'})
        w.settings['sources'].append({**w.settings['sources'][0], 'name': 'lost', 'url': 'postgresql://postgres@127.0.0.1:1/nowhere'})
        w.write(w.config_file, w.settings)
        w.run('topics', 'create')
        w.source.sql("insert into contacts values (7, 'x')")
        root = w.json('status')
        by_name = {d['name']: d for d in root['destinations']}
        self.assertIn('refused', by_name['away']['error'])
        self.assertIsNone(by_name['away']['lag_events'])
        self.assertEqual(by_name['away']['dead'], 0)
        self.assertEqual((by_name['warehouse']['error'], by_name['warehouse']['lag_events']), (None, 0))
        entity = w.json('status', 'contact', '7')
        self.assertEqual(set(entity), {'entity_id', 'entity_type', 'cdc', 'polling'})
        self.assertEqual(entity['cdc']['sources']['crm']['row'], {'id': '7', 'name': 'x'})
        self.assertIn('refused', entity['cdc']['sources']['lost']['error'])
        self.assertIn('refused', entity['cdc']['destinations']['away']['error'])
        self.assertEqual(entity['cdc']['destinations']['warehouse']['found'], False)

    def test_kafka_that_is_away_is_said_soon(self):
        w = self.prepare()
        w.destination.sql("insert into contacts values (7, 'x')")
        w.settings['kafka']['bootstrap.servers'] = '127.0.0.1:1'
        w.write(w.config_file, w.settings)
        done = w.run('status', ok=False)
        self.assertEqual(done.returncode, 5)
        self.assertIn('did not answer', done.stdout)
        self.assertIn('destination warehouse', done.stdout)
        entity = w.json('status', 'contact', '7')
        self.assertEqual(entity['cdc']['destinations']['warehouse']['row'], {'id': '7', 'name': 'x'})
        self.assertIn('version_error', entity['cdc']['destinations']['warehouse'])

    def test_one_entity_and_the_version_it_was_decided_by(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts values (7, 'first')")
        w.settle()
        w.source.sql("update contacts set name = 'second' where id = 7")
        w.source.sql("insert into contacts values (8, 'gone')")
        w.source.sql('delete from contacts where id = 8')
        w.settle()
        entity = w.json('status', 'contact', '7', config=run.config)
        self.assertEqual((entity['entity_id'], entity['entity_type']), ('7', 'contact'))
        here, there = entity['cdc']['sources']['crm'], entity['cdc']['destinations']['warehouse']
        self.assertEqual(here['row'], there['row'])
        newest = [e for e in w.events() if e['entity_id'] == '7'][-1]
        self.assertEqual((there['version'], there['event_id'], there['source'], there['deleted']), (newest['version'], newest['event_id'], 'crm', False))
        gone = w.json('status', 'contact', '8', config=run.config)['cdc']['destinations']['warehouse']
        self.assertEqual((gone['found'], gone['deleted']), (False, True))
        self.assertIn('"second"', w.run('status', 'contact', '7', config=run.config).stdout)
        self.assertEqual(w.run('status', 'kontact', '7', ok=False).returncode, 3)
        self.assertEqual(w.run('status', 'contact', ok=False).returncode, 2)

    def test_the_page_on_monitoring_names_every_metric_and_no_other(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', wait=True)
        served = {line.split()[2].removeprefix('lockstep_') for line in w.get(run, '/metrics')[1].splitlines() if line.startswith('# TYPE')}
        with open(f'{ROOT}/docs/monitoring.md') as f:
            text = f.read()
        table = text[text.index('| metric |'):text.index('Watch two things')]
        named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r'`([a-z_]+)`', row.split('|')[1])}
        self.assertEqual(named, served)
        for path in ('/healthz', '/readyz', '/api/v1/status'):
            self.assertEqual(w.get(run, path)[0], 200)
            self.assertIn(path, text)

    # ---- families ----

    def test_no_cdc_leaves_the_log_alone_and_the_sinks_go_on(self):
        w = self.prepare()
        w.source.sql("insert into contacts values (1, 'x')")
        run = w.start('run', '--skip-check', '--no-cdc', http=True)
        wait_for(lambda: w.get(run, '/readyz')[0] == 200, 60, 'ready', alive=[run])
        w.run('publish', '--entity', 'contact', '--id', '9', '--source', 'script', '--type', 'INSERT', '--data', '{"id": 9, "name": "by hand"}')
        wait_for(lambda: w.destination.one('select name from contacts where id = 9') == 'by hand', 30, 'the event by hand', alive=[run])
        self.assertIn('--no-cdc', run.text())
        self.assertEqual(w.source.one('select count(*) from pg_replication_slots where database = current_database()'), 0)
        self.assertEqual(run.stop(), 0)
        self.assertIn('--no-cdc', w.run('help', 'run').stdout)

    def test_the_other_families_do_not_touch_a_log(self):
        w = self.prepare()
        run = w.start('run', '--skip-check', '--no-event-driven', '--no-polling', wait=True)
        w.source.sql("insert into contacts values (1, 'x')")
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertNotIn('left out', run.text())


main()
