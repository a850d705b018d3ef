"""What the suites about single faults share: contacts that move, a log of every row change, and who made it."""
import os, sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
sys.path[:0] = [f'{ROOT}/tests/support', f'{ROOT}/tests/chaos']
from lockstep_test import SEED, Scenario, database_url, wait_for

CONTACTS = """create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
    detail jsonb, notes text, rev bigint, updated_at timestamptz)"""

# Who changed the row: what the session's URL says of itself.
AUDIT = """
    create table audit (n bigserial primary key, op text, key text, rev bigint, nothing boolean, who text, at timestamptz default clock_timestamp());
    create function audit() returns trigger language plpgsql as $$ begin
      insert into audit (op, key, rev, nothing, who) values (tg_op, case when tg_op = 'DELETE' then old.id else new.id end,
        case when tg_op = 'DELETE' then old.rev else new.rev end, tg_op = 'UPDATE' and old is not distinct from new, current_setting('audit.who', true));
      return null; end $$;
    create trigger audit after insert or update or delete on contacts for each row execute function audit()"""


class UnderFault(Scenario):
    """self.world with a source that has tests/support/workload.sql and a destination that logs its row changes."""

    def open(self, partitions=3, destination=None, ledger='full', through=None, kafka=None):
        """destination: a Database in place of the world's own; through: address of a proxy before it; kafka: of one before Kafka."""
        w = self.world
        self.seed = SEED % 1000
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        if destination:
            w.destination = destination
        w.destination.sql(CONTACTS)
        w.destination.sql(AUDIT)
        self.url = w.destination.url
        if through:
            host, port = through.rsplit(':', 1)
            self.url = database_url(f'postgresql://postgres@{host}:{port}/x', w.destination.name)
        w.configure(partitions=partitions, kafka={'bootstrap.servers': kafka or w.kafka, 'session.timeout.ms': 6000}, destinations=[
            {'name': 'warehouse', 'type': 'postgres', 'url': self.url, 'ledger': ledger, 'retry': {'initial_ms': 50, 'max_ms': 500},
             'breaker': {'failures': 1000}, 'tables': [{'entity': 'contact', 'table': 'public.contacts'}]}])
        return w

    def sink(self, name='sink', who='', wait=False, **more):
        """A sink whose row changes are logged as made by `who`."""
        w, url = self.world, self.url
        if who:
            url = f"{url}{'&' if '?' in url else '?'}options=-c%20audit.who%3D{who}"
        w.settings['destinations'][0]['url'] = url
        return w.start('sink', name=name, wait=wait, **more)

    def work(self, n, most=20):
        self.seed += 7
        self.world.source.sql(f'call work({n}, {self.seed % 1000 / 1000}, {most})')

    def touch(self):
        """Every contact of the source gets a new revision."""
        self.world.source.sql("update contacts set score = coalesce(score, 0) + 1, rev = nextval('revs'), updated_at = clock_timestamp()")

    def equal(self, processes, seconds=120):
        """All that was written is captured and applied, and the tables are the same."""
        w = self.world
        w.settle(seconds=seconds, alive=processes)
        wait_for(lambda: w.caught_up() and w.same('contacts') is None, seconds, f"equal tables\n{w.same('contacts')}", every=0.3, alive=processes)

    def once(self, dead=0):
        """No row change at the destination goes back to an older revision or is made twice; the ledger has every event, once."""
        w, last, wrong = self.world, {}, []
        for n, op, key, rev, nothing, who in w.destination.sql('select n, op, key, rev, nothing, who from audit order by n'):
            if rev < last.get(key, 0) or (op != 'DELETE' and (nothing or rev == last.get(key))):
                wrong.append(f'change {n} by {who}: {op} of {key} to rev {rev} after rev {last.get(key)}')
            last[key] = max(rev, last.get(key, 0))
        self.assertEqual(wrong[:10], [], f'{len(wrong)} row changes went back or came twice')
        self.assertEqual(len(w.dead()), dead, 'dead letters')
        if w.settings['destinations'][0]['ledger'] == 'full':
            events = {e['event_id'] for e in w.events()}
            self.assertEqual(w.destination.one("select count(*) from identity.sync_processed_events where status <> 'passed'"), len(events), 'events in the ledger and in the topic')

    def changes_by(self, who, after=0):
        return self.world.destination.one('select count(*) from audit where who = %s and n > %s', who, after)

    def last_change(self):
        return self.world.destination.one('select coalesce(max(n), 0) from audit')


def stands_still(process):
    """True when the process is stopped by a signal."""
    with open(f'/proc/{process.popen.pid}/stat') as f:
        return f.read().rsplit(')', 1)[1].split()[0] == 'T'
