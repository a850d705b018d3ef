"""What happens to databases: crashes, connections ended by an operator, rows that somebody else holds, a backup put back."""
import os, shutil

import psycopg

from base import Fault, held, rest


def crash(world, rng, name, server):
    with held(world, name) as mine:
        if not mine:
            return
        server.stop('immediate')
        try:
            rest(world, rng.choice((0, rng.uniform(0, 8))))
        finally:
            server.start()


def crash_source(world, rng):
    crash(world, rng, 'source', world.source_pg)


def crash_destination(world, rng):
    crash(world, rng, 'destination', world.destination_pg)


def ask(server, query, *args):
    """Rows, or [] while the server is away: another fault may have it."""
    try:
        return server.sql(query, *args)
    except psycopg.Error:
        return []


def end_walsender(world, rng):
    for _ in range(rng.randint(1, 4)):
        ask(world.source_pg, 'select pg_terminate_backend(pid) from pg_stat_replication')
        rest(world, rng.uniform(0.1, 2))


def end_backends(world, rng):
    for _ in range(rng.randint(1, 4)):
        ask(world.destination_pg, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'lockstep'")
        rest(world, rng.uniform(0.1, 2))


def cancel_statements(world, rng):
    """As a DBA does who sees something that takes long."""
    for _ in range(rng.randint(1, 6)):
        ask(world.destination_pg, "select pg_cancel_backend(pid) from pg_stat_activity where usename = 'lockstep' and state = 'active'")
        rest(world, rng.uniform(0.05, 0.7))


def lock_rows(world, rng):
    """Rows that somebody else holds, for longer or shorter than a sink waits for a lock. Nothing is changed."""
    table = rng.choice([t for _, t, _ in world.entities])
    try:
        with world.destination_pg.connect(autocommit=False) as c:
            c.execute(f'select 1 from {table} tablesample system (50) limit 200 for update')
            rest(world, rng.uniform(1, 8))
            c.rollback()
    except psycopg.Error as e:
        world.note(f'    the lock was lost: {str(e).splitlines()[0]}')


def lock_table(world, rng):
    table = rng.choice([t for _, t, _ in world.entities])
    try:
        with world.destination_pg.connect(autocommit=False) as c:
            c.execute("set lock_timeout = '10s'")
            c.execute(f'lock table {table} in access exclusive mode')
            rest(world, rng.uniform(0.5, 5))
            c.rollback()
    except psycopg.Error as e:
        world.note(f'    the lock was lost: {str(e).splitlines()[0]}')


def older_backup(world, rng):
    """The destination is copied, goes on for a while, and the copy is put back: rows and marks are older, together."""
    server = world.destination_pg
    saved = f'{server.root}/backup'
    with held(world, 'destination', 30) as mine:
        if not mine:
            return
        server.stop('fast')
        try:
            shutil.rmtree(saved, ignore_errors=True)
            server.as_postgres('cp', '-a', server.data_dir, saved)
        finally:
            server.start()
        rest(world, rng.uniform(3, 12))
        server.stop('immediate')
        try:
            if os.path.exists(f'{saved}/PG_VERSION'):
                shutil.rmtree(server.data_dir)
                os.rename(saved, server.data_dir)
                world.oracle.note_restored()
        finally:
            server.start()


FAULTS = [
    Fault('source-crash', crash_source, 2),
    Fault('destination-crash', crash_destination, 2),
    Fault('terminate-walsender', end_walsender, 2),
    Fault('terminate-sinks', end_backends, 2),
    Fault('cancel-statements', cancel_statements, 1),
    Fault('locked-rows', lock_rows, 1.5),
    Fault('locked-table', lock_table, 1),
    Fault('older-backup', older_backup, 0.7),
]
