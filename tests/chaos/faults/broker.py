"""The broker dies and comes back, stands still, loses the group; records that were applied are removed from the log."""
import signal

from base import Fault, held, rest
from confluent_kafka import KafkaException, TopicPartition


def kill(world, rng):
    with held(world, 'kafka') as mine:
        if not mine:
            return
        world.kafka.kill()
        try:
            rest(world, rng.choice((0, rng.uniform(0, 10))))
        finally:
            world.kafka.start()


def restart(world, rng):
    with held(world, 'kafka') as mine:
        if mine:
            world.kafka.stop()
            world.kafka.start()


def freeze(world, rng):
    with held(world, 'kafka') as mine:
        if not mine:
            return
        world.kafka.kill(signal.SIGSTOP)
        try:
            rest(world, rng.uniform(1, 10))
        finally:
            world.kafka.kill(signal.SIGCONT)


def published(world):
    """{(events topic, partition): offset} below which the version state is in the versions topic, from the destination's marks."""
    rows = world.destination_pg.sql("select topic, partition, next_offset from identity.sync_offsets where destination = 'warehouse'")
    return {(t, p): n for t, p, n in rows if n}


def remove_applied(world, rng):
    """DeleteRecords below the marks of some time ago: nothing that anybody still needs."""
    with held(world, 'destination') as mine:  # no older backup meanwhile: it would need them
        if not mine:
            return
        before = published(world)
        if not rest(world, 8):
            return
        topic = rng.choice(world.topics.events)
        cuts = [TopicPartition(t, p, n // 2) for (t, p), n in before.items() if t == topic]
        if not cuts:
            return
        world.oracle.topic_cut(topic)
        try:
            for future in world.kafka.admin.delete_records(cuts).values():
                future.result()
        except KafkaException as e:
            world.note(f'    not removed: {e}')


FAULTS = [
    Fault('broker-kill', kill, 1.5),
    Fault('broker-restart', restart, 0.7),
    Fault('broker-freeze', freeze, 1),
    Fault('remove-applied', remove_applied, 0.5),
]
