"""Work that hurts, at the source: repeated exactly by its seed, as every worker draws from a generator of its own and never from an answer.

A statement names its rows and takes what it finds (no such row, or one already there, is no error), so a transaction whose COMMIT was
not answered needs no thought: the journal at the source knows.
"""
import os, random, threading, time

import psycopg
from confluent_kafka import Producer

from tables import COMPANIES, CONTACTS, LINES, ORDERS, PARTS, TABLE

WORKERS = 4
# A worker inserts, deletes and moves only ids that are its own, so that a key's revisions are given out in the order of its commits.


def own(rng, worker, most):
    return rng.randrange((most - worker) // WORKERS) * WORKERS + worker + 1


def text(rng):
    return '%08x' % rng.getrandbits(32)


def blob(rng):
    return f"chaos.blob('{text(rng)}', {rng.randrange(80, 600)})"


# ---- what one transaction may hold: functions of (rng, worker) that return a list of statements ----

def contact_update(rng, worker):
    columns = {'name': f"'{text(rng)}'", 'stage': rng.choice(["'lead'", "'won'", "'lost'", 'null']), 'score': f'{rng.uniform(-9e5, 9e5):.2f}',
               'tags': f"array['{text(rng)}', null, 'x']", 'detail': f"jsonb_build_object('k', '{text(rng)}')", 'updated_at': 'clock_timestamp()'}
    chosen = rng.sample(sorted(columns), rng.randrange(1, 4))
    sets = ', '.join(f'{c} = {columns[c]}' for c in chosen)
    if rng.random() < 0.12:
        sets += f', notes = {blob(rng) if rng.random() < 0.8 else "null"}'
    return [f'update contacts set {sets} where id = {rng.randrange(1, CONTACTS * 2 if rng.random() < 0.2 else CONTACTS)}']


def contact_insert(rng, worker):
    i = own(rng, worker, CONTACTS)
    notes = blob(rng) if rng.random() < 0.4 else 'null'
    return [f"insert into contacts (id, email, name, notes) values ({i}, 'c{i}-{text(rng)}@example.org', '{text(rng)}', {notes}) on conflict do nothing"]


def contact_delete(rng, worker):
    return [f'delete from contacts where id = {own(rng, worker, CONTACTS) + rng.choice([0, 0, 0, CONTACTS])}']


def contact_again(rng, worker):
    i = own(rng, worker, CONTACTS)
    return [f'delete from contacts where id = {i}',
            f"insert into contacts (id, email, name, notes) values ({i}, 'again-{i}-{text(rng)}@example.org', '{text(rng)}', {blob(rng)}) on conflict do nothing"]


def contact_move(rng, worker):
    i = own(rng, worker, CONTACTS)
    a, b = (i, i + CONTACTS) if rng.random() < 0.6 else (i + CONTACTS, i)
    return [f'update contacts set id = {b} where id = {a} and not exists (select from contacts where id = {b})']


def swap(rng, worker):
    return [f'select chaos.swap({rng.randrange(1, CONTACTS)}, {rng.randrange(1, CONTACTS)})']


def hand_over(rng, worker):
    return [f'select chaos.hand_over({own(rng, worker, CONTACTS)}, {rng.randrange(1, CONTACTS)})']


def contacts_many(rng, worker):
    low = rng.randrange(1, CONTACTS)
    return [f"update contacts set stage = '{text(rng)}' where id between {low} and {low + rng.randrange(50, 500)}"]


def company(rng, worker):
    i = own(rng, worker, COMPANIES)
    kind = rng.random()
    if kind < 0.4:
        return [f"update companies set city = '{text(rng)}' where id = {i}"]
    if kind < 0.75:
        return [f"insert into companies (id, name) values ({i}, '{text(rng)}') on conflict do nothing"] + [
            f"insert into orders (id, company_id, amount) values ({own(rng, worker, ORDERS)}, {i}, {rng.uniform(0, 1e6):.2f}) on conflict do nothing"
            for _ in range(rng.randrange(5))]
    mine = f'company_id = {i} and (id - 1) % {WORKERS} = {worker}'
    return [f'delete from orders where {mine}', f'delete from companies where id = {i} and not exists (select from orders where company_id = {i})']


def order(rng, worker):
    i, kind = own(rng, worker, ORDERS), rng.random()
    if kind < 0.45:
        return [f"update orders set amount = {rng.uniform(0, 1e6):.2f}, note = '{text(rng)}' where id = {rng.randrange(1, ORDERS)}"]
    if kind < 0.6:
        return [f'update orders set company_id = c.id from companies c where c.id = {rng.randrange(1, COMPANIES)} and orders.id = {i}']
    if kind < 0.85:
        return [f"insert into orders (id, company_id, amount, placed) select {i}, id, {rng.uniform(0, 1e6):.2f}, date '2025-01-01' + {rng.randrange(300)} "
                f'from companies where id = {rng.randrange(1, COMPANIES)} on conflict do nothing']
    return [f'delete from orders where id = {i}']


def line(rng, worker):
    o, number, kind = own(rng, worker, LINES), rng.randrange(1, 6), rng.random()
    if kind < 0.5:
        return [f"update lines set qty = {rng.randrange(1000)}{', memo = ' + blob(rng) if rng.random() < 0.1 else ''} where order_id = {rng.randrange(1, LINES)}"]
    if kind < 0.65:
        return [f"insert into lines values ({o}, {number}, '{text(rng)}', 1, {blob(rng)}) on conflict (order_id, line) do update set sku = excluded.sku"]
    if kind < 0.8:
        return [f'delete from lines where order_id = {o}' + ('' if rng.random() < 0.3 else f' and line = {number}')]
    by = rng.choice([100, -100])
    return [f'update lines l set line = line + {by} where order_id = {o} and line % 100 = {number} and line + {by} in ({number}, {number + 100}) '
            f'and not exists (select from lines x where x.order_id = l.order_id and x.line = l.line + {by})']


def part(rng, worker):
    return [f"update parts set qty = {rng.randrange(10000)}, label = '{text(rng)}' where id = 'p{rng.randrange(1, PARTS)}'"]


def large(rng, worker):
    kind = rng.random()
    if kind < 0.3:
        return [f"update contacts set stage = '{text(rng)}', score = score + 1"]
    if kind < 0.6:
        return [f"update orders set note = '{text(rng)}'"]
    if kind < 0.8:
        return ['update lines set qty = qty + 1', f"update parts set label = '{text(rng)}'"]
    # Thousands of rows come, change and go again, by ids that nobody else has.
    first = 1_000_000 + worker * 100_000
    return [f"insert into orders (id, company_id, amount) select i, c.id, 1 from generate_series({first}, {first + rng.randrange(1000, 3000)}) i, "
            '(select id from companies order by id limit 1) c on conflict do nothing',
            f'update orders set amount = amount + 1 where id between {first} and {first + 500}',
            f'delete from orders where id between {first} and {first + 100_000 - 1}']


KINDS = [(contact_update, 30), (contact_insert, 8), (contact_delete, 5), (contact_again, 5), (contact_move, 5), (swap, 5), (hand_over, 2),
         (contacts_many, 1), (company, 7), (order, 14), (line, 12), (part, 8)]


def transaction(rng, worker):
    """The statements of one transaction and whether it is to be rolled back."""
    if rng.random() < 0.01:
        return large(rng, worker), rng.random() < 0.1
    statements, count = [], rng.choice([1, 1, 1, 2, 3, 5, 8, 20])
    for n in range(count):
        make = rng.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
        part_of = make(rng, worker)
        if rng.random() < 0.08:
            part_of = [f'savepoint s{n}', *part_of, f'rollback to savepoint s{n}' if rng.random() < 0.6 else f'release savepoint s{n}']
        statements += part_of
    return statements, rng.random() < 0.06


class Workload:
    """start(), pause(), resume(), stop(). pace: mean seconds of rest between two transactions of a worker."""

    def __init__(self, world, seed, pace=0.1, ddl=True, poison=True, quiet=True, make=transaction, huge=0, poison_every=3.0):
        self.world, self.seed, self.pace, self.make, self.huge, self.poison_every = world, seed, pace, make, huge, poison_every
        self.running, self.ended, self.threads, self.problems = threading.Event(), threading.Event(), [], []
        self.quiet = quiet
        self.transactions = self.unknown = self.schema_changes = 0
        self.poisons, self.lock = {}, threading.Lock()  # (topic, partition, offset): bytes or None
        self.running.set()
        roles = [(self.work, w) for w in range(WORKERS)] + [(self.alter, WORKERS)] * ddl + [(self.poison, WORKERS + 1)] * poison
        for role, number in roles:
            self.threads.append(threading.Thread(target=self.guarded, args=(role, number), name=f'workload-{number}', daemon=True))
        if huge:
            self.threads.append(threading.Thread(target=self.guarded, args=(self.all_at_once, WORKERS + 2), daemon=True))

    def start(self):
        for thread in self.threads:
            thread.start()

    def pause(self):
        self.running.clear()

    def resume(self):
        self.running.set()

    def stop(self):
        self.ended.set()
        self.running.set()
        for thread in self.threads:
            thread.join(180)
            if thread.is_alive():
                self.problems.append(f'{thread.name} did not end')

    def guarded(self, role, number):
        try:
            role(random.Random(f'{self.seed}-work-{number}'), number)
        except Exception as e:
            if not self.ended.is_set() or not isinstance(e, psycopg.Error):
                self.problems.append(f'{role.__name__}: {type(e).__name__}: {e}')

    def rest(self, seconds):
        self.ended.wait(seconds)
        self.running.wait()
        return not self.ended.is_set()

    # ---- rows ----

    def work(self, rng, worker):
        connection = None
        while not self.ended.is_set():
            statements, undo = self.make(rng, worker)
            connection = self.carry_out(connection, statements, undo)
            if rng.random() < 0.004 and self.quiet:
                self.world.note(f'worker {worker} is quiet')
                self.rest(rng.uniform(2, 6))
            if not self.rest(rng.expovariate(1 / self.pace)):
                break

    def connect(self):
        for _ in range(1200):
            try:
                connection = self.world.source_pg.connect(autocommit=False)
                connection.execute("set statement_timeout = '60s'")
                return connection
            except psycopg.Error:
                if self.ended.wait(0.1):
                    break
        raise psycopg.OperationalError('the source did not come back')

    def carry_out(self, connection, statements, undo):
        """One transaction, tried again while it is certain that it did not happen. Returns the connection for the next."""
        for _ in range(50):
            at_commit = False
            try:
                connection = connection or self.connect()
                for statement in statements:
                    connection.execute(statement)
                if undo:
                    connection.rollback()
                else:
                    at_commit = True
                    connection.commit()
                    with self.lock:
                        self.transactions += 1
                return connection
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure, psycopg.errors.ForeignKeyViolation, psycopg.errors.UniqueViolation,
                    psycopg.errors.UndefinedColumn):
                connection.rollback()
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if connection:
                    connection.close()
                connection = None
                if at_commit:
                    with self.lock:
                        self.unknown += 1
                    return None
                if self.ended.wait(0.1):
                    return None
        return connection

    def all_at_once(self, rng, number):
        """One transaction of `huge` rows."""
        if not self.rest(5):
            return
        self.world.note(f'one transaction of {self.huge} rows begins')
        connection = self.world.source_pg.connect(autocommit=False)
        connection.execute(f"insert into lines (order_id, line, sku, qty) select 10000000 + i, 1, 'huge', i from generate_series(1, {self.huge}) i")
        connection.commit()
        self.world.note(f'one transaction of {self.huge} rows is committed')

    # ---- columns ----

    def alter(self, rng, number):
        """Adds, renames, widens and drops columns of parts, and writes every row after it."""
        connection, made = None, 0
        while self.rest(rng.uniform(4, 14)):
            kind, made = rng.choice(['add', 'add', 'rename', 'retype', 'drop']), made + 1
            value, amid = rng.randrange(100000), rng.random() < 0.5
            columns = self.columns(self.world.source_pg)
            mine = [c for c in columns if c.startswith('x')]
            if columns is None or not mine and kind != 'add':
                kind = 'add'
            change = self.change(kind, mine, made, rng.choice(['int', 'text', 'numeric(12,3)', 'timestamptz', 'boolean']))
            if not change:
                continue
            statements = [f"update parts set label = 'before {value}' where id < 'p3'"] * amid + [change]
            statements += [self.rewrite(kind, change, value), f'update parts set qty = qty + {value % 7}']
            connection = self.carry_out(connection, statements, False)
            self.schema_changes += 1
            self.world.note(f'schema change: {change}')

    def columns(self, pg):
        try:
            return dict(pg.sql("select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'parts'::regclass and attnum > 0 and not attisdropped"))
        except psycopg.Error:
            return {}

    def change(self, kind, mine, made, type):
        if kind == 'add':
            return f'alter table parts add column x{made} {type}'
        first = sorted(mine)[0]
        if kind == 'drop':
            return f'alter table parts drop column {first}'
        if kind == 'rename':
            return f'alter table parts rename column {first} to x{made}r'
        whole = [c for c, t in self.columns(self.world.source_pg).items() if c in mine and t == 'integer']
        # An operator widens the destination's column first.
        if not whole or self.columns(self.world.destination_pg).get(whole[0]) != 'integer':
            return None
        try:
            self.world.destination_pg.sql(f"set lock_timeout = '20s'; alter table parts alter column {whole[0]} type bigint")
        except psycopg.Error:
            return None
        return f'alter table parts alter column {whole[0]} type bigint'

    @staticmethod
    def rewrite(kind, change, value):
        column, type = change.split()[5], change.split()[-1]
        if kind == 'retype':
            return f'update parts set {column} = {value} + 5000000000 + length(id)'
        if kind == 'add':
            given = {'int': f'{value} + length(id)', 'text': f"'{value}' || id", 'numeric(12,3)': f'{value} / 7.0', 'timestamptz': f'to_timestamp({value})',
                     'boolean': 'length(id) = 3'}[type]
            return f'update parts set {column} = {given}'
        return f"update parts set label = '{kind} {value}'"

    # ---- what nobody can apply ----

    def poison(self, rng, number):
        """Messages that must become dead letters, by another client; only what the broker acknowledged is expected."""
        producer = Producer({'bootstrap.servers': self.world.kafka.direct, 'enable.idempotence': True, 'linger.ms': 0, 'log_level': 2})

        def told(error, message):
            if error:
                self.problems.append(f'a poison was not taken: {error}')
                return
            with self.lock:
                self.poisons[(message.topic(), message.partition(), message.offset())] = message.value()

        count = 0
        while self.rest(rng.uniform(0.3, 1.7) * self.poison_every):
            topic = f'{self.world.topics.prefix}.{rng.choice(sorted(TABLE))}'
            count += 1
            value = rng.choice([b'no event', b'', b'\xc3\x01' + rng.randbytes(8) + b'unknown schema', b'\xc3\x01', rng.randbytes(300), b'{"id": 1}', None])
            if isinstance(value, bytes):
                value = b'%s %d' % (value, count) if value and not value.startswith(b'\xc3\x01') else value
            producer.produce(topic, key=f'poison-{count}', value=value, on_delivery=told)
            producer.poll(0)
        if producer.flush(90):
            self.problems.append('poison was not acknowledged')
