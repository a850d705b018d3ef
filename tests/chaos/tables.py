"""The tables of a chaos run at the source and at the destination, and the triggers that tell the oracle what happened there.

Every captured row carries `rev`, set by the source from one sequence: it only grows per key, over deletes and re-inserts too. Each
row change writes its key, rev and kind into chaos.journal in the same transaction, so what the journal holds is what was
acknowledged. The destination logs every change of a row, and every move of a mark, in the same way.
"""

# entity, table, key columns; the expression of the key's text as it stands in the oracle
ENTITIES = [('contact', 'contacts', ['id']), ('company', 'companies', ['id']), ('order', 'orders', ['id']),
            ('line', 'lines', ['order_id', 'line']), ('part', 'parts', ['id'])]
KEYS = {table: key for _, table, key in ENTITIES}
TABLE = {entity: table for entity, table, _ in ENTITIES}

CONTACTS = 2000   # ids of contacts; a contact that moves gets its id + CONTACTS, or goes back
COMPANIES = 60
ORDERS = 2000
LINES = 400       # orders that have lines, with up to 5 lines; lines move by 100
PARTS = 150

TABLES = """
create table contacts (id bigint primary key, email text{unique}, name text not null, stage text, score numeric(12, 2), tags text[], detail jsonb,
    notes text, rev bigint, updated_at timestamptz);
create table companies (id bigint primary key, name text not null, city text, rev bigint);
create table orders (id bigint primary key, company_id bigint not null{references}, amount numeric(14, 2), note text, placed date, rev bigint);
create table lines (order_id bigint, line int, sku text, qty int, memo text, rev bigint, primary key (order_id, line));
create table parts (id text primary key, label text, qty int, rev bigint);
alter table contacts alter column notes set storage external;
alter table lines alter column memo set storage external;
"""

SOURCE = """
alter table lines replica identity full;
create schema chaos;
create sequence chaos.rev;
create table chaos.journal (n bigserial primary key, tbl text not null, op text not null, key text not null, rev bigint not null);
create function chaos.stamp() returns trigger language plpgsql as $$ begin
    new.rev := nextval('chaos.rev');
    return new;
end $$;
-- Text that no compression makes small, so that it is stored outside of the row.
create function chaos.blob(seed text, pieces int) returns text language sql as
    $$ select string_agg(md5(seed || i), '') from generate_series(1, pieces) i $$;
-- Two contacts exchange their unique addresses.
create function chaos.swap(a bigint, b bigint) returns void language plpgsql as $$
declare mail_a text; mail_b text; begin
    perform from contacts where id in (a, b) order by id for update;
    select email into mail_a from contacts where id = a;
    select email into mail_b from contacts where id = b;
    if mail_a is null or mail_b is null or a = b then return; end if;
    update contacts set email = 'between-' || a where id = a;
    update contacts set email = mail_a where id = b;
    update contacts set email = mail_b where id = a;
end $$;
-- A contact goes, and another one takes over its address in the same transaction.
create function chaos.hand_over(a bigint, b bigint) returns void language plpgsql as $$
declare mail text; begin
    select email into mail from contacts where id = a for update;
    if mail is null or a = b or not exists (select from contacts where id = b) then return; end if;
    delete from contacts where id = a;
    update contacts set email = mail where id = b;
end $$;
"""

SOURCE_TABLE = """
create trigger stamp before insert or update on {table} for each row execute function chaos.stamp();
create function chaos.journal_{table}() returns trigger language plpgsql as $$ begin
    if tg_op = 'INSERT' then
        insert into chaos.journal (tbl, op, key, rev) values ('{table}', 'I', {new}, new.rev);
    elsif tg_op = 'DELETE' then
        insert into chaos.journal (tbl, op, key, rev) values ('{table}', 'D', {old}, nextval('chaos.rev'));
    elsif {old} = {new} then
        insert into chaos.journal (tbl, op, key, rev) values ('{table}', 'U', {new}, new.rev);
    else
        insert into chaos.journal (tbl, op, key, rev) values ('{table}', 'D', {old}, nextval('chaos.rev')), ('{table}', 'I', {new}, new.rev);
    end if;
    return null;
end $$;
create trigger journal after insert or update or delete on {table} for each row execute function chaos.journal_{table}();
"""

DESTINATION = """
create schema chaos;
create table chaos.audit (n bigserial primary key, tbl text not null, op text not null, key text not null, old_rev bigint, new_rev bigint,
    txid xid8 not null default pg_current_xact_id(), at timestamptz not null default clock_timestamp());
create table chaos.marks (n bigserial primary key, topic text not null, partition int not null, next_offset bigint not null,
    owner_epoch bigint not null, was_offset bigint, was_epoch bigint, txid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default clock_timestamp());
create function chaos.mark() returns trigger language plpgsql as $$ begin
    if tg_op = 'INSERT' then
        insert into chaos.marks (topic, partition, next_offset, owner_epoch) values (new.topic, new.partition, new.next_offset, new.owner_epoch);
    else
        insert into chaos.marks (topic, partition, next_offset, owner_epoch, was_offset, was_epoch)
            values (new.topic, new.partition, new.next_offset, new.owner_epoch, old.next_offset, old.owner_epoch);
    end if;
    return null;
end $$;
"""

DESTINATION_TABLE = """
create function chaos.audit_{table}() returns trigger language plpgsql as $$ begin
    if tg_op = 'INSERT' then
        insert into chaos.audit (tbl, op, key, new_rev) values ('{table}', 'I', {new}, new.rev);
    elsif tg_op = 'DELETE' then
        insert into chaos.audit (tbl, op, key, old_rev) values ('{table}', 'D', {old}, old.rev);
    else
        insert into chaos.audit (tbl, op, key, old_rev, new_rev) values ('{table}', 'U', {new}, old.rev, new.rev);
    end if;
    return null;
end $$;
create trigger audit after insert or update or delete on {table} for each row execute function chaos.audit_{table}();
"""

# A transaction that tries again what waits for rows of others touches the mark without moving it.
WATCH_LEDGER = """
create trigger mark after insert or update on identity.sync_offsets for each row execute function chaos.mark();
create table chaos.waits (n bigserial primary key, op text not null, txid xid8 not null default pg_current_xact_id());
create function chaos.wait() returns trigger language plpgsql as $$ begin insert into chaos.waits (op) values (tg_op); return null; end $$;
create trigger wait after insert or update or delete on identity.sync_waiting for each statement execute function chaos.wait();
"""


def key_text(row, key):
    return " || '|' || ".join(f'{row}.{column}::text' for column in key)


def for_each_table(text):
    return ''.join(text.format(table=table, old=key_text('old', key), new=key_text('new', key)) for _, table, key in ENTITIES)


def make_source(pg):
    pg.sql(TABLES.format(unique=' unique', references=' references companies') + SOURCE + for_each_table(SOURCE_TABLE))
    # Rows for the snapshot to read.
    pg.sql(f"""
        insert into contacts select i, 'c' || i || '@example.org', 'contact ' || i, 'lead', i / 7.0, array['t' || i % 5], jsonb_build_object('n', i),
            case when i % 3 = 0 then chaos.blob('first' || i, 120) end, 0, now() from generate_series(1, {CONTACTS}, 2) i;
        insert into companies select i, 'company ' || i, 'city ' || i % 9 from generate_series(1, {COMPANIES}, 2) i;
        insert into orders select i, 1 + 2 * (i % ({COMPANIES} / 2)), i * 1.5, null, date '2024-01-01' + i % 300 from generate_series(1, {ORDERS}, 3) i;
        insert into lines select o, l, 'sku ' || o, l, case when o % 4 = 0 then chaos.blob('memo' || o, 150) end, 0
            from generate_series(1, {LINES}, 2) o, generate_series(1, 3) l;
        insert into parts select 'p' || i, 'part ' || i, i from generate_series(1, {PARTS}) i""")


def make_destination(pg, without=()):
    pg.sql(TABLES.format(unique='' if 'unique' in without else ' unique', references='' if 'fk' in without else ' references companies')
           + DESTINATION + for_each_table(DESTINATION_TABLE))
