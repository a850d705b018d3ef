"""What a network does between lockstep and its servers, and two losses that matter more than others."""
from base import Fault, rest

NAMES = ('kafka', 'source', 'destination')


def delay(world, rng):
    name = rng.choice(NAMES)
    with world.proxy(name).hold() as proxy:
        ms = rng.choice((20, 100, 400, 1500))
        world.note(f'    {name} answers {ms} ms later')
        proxy.delay(ms, ms // 2)
        rest(world, rng.uniform(2, 10))


def cut(world, rng):
    name = rng.choice(NAMES)
    with world.proxy(name).hold() as proxy:
        world.note(f'    {name} refuses')
        proxy.cut()
        rest(world, rng.uniform(0.2, 10))


def blink(world, rng):
    name = rng.choice(NAMES)
    with world.proxy(name).hold() as proxy:
        world.note(f'    connections to {name} are reset')
        for _ in range(rng.randint(1, 5)):
            proxy.blink()
            rest(world, rng.uniform(0.05, 1.5))


def blackhole(world, rng):
    """Longer than a session, sometimes: a sink that cannot know that it was given up."""
    name = rng.choice(NAMES)
    with world.proxy(name).hold() as proxy:
        world.note(f'    {name} is silent')
        proxy.blackhole()
        rest(world, rng.uniform(1, 14))


def narrow(world, rng):
    name = rng.choice(NAMES)
    with world.proxy(name).hold() as proxy:
        rate = rng.choice((16, 64, 512))
        world.note(f'    {name} gets {rate} KB a second')
        proxy.limit(rate)
        rest(world, rng.uniform(2, 10))


def lost_replies(world, rng, name, swallow):
    """A few in a row, each on a connection of its own; of some the request is lost as well."""
    with world.proxy(name).hold() as proxy:
        for _ in range(rng.randint(1, 6)):
            happens = rng.random() < 0.7
            lost = swallow(proxy, happens)
            if not lost.wait(8) or not rest(world, rng.uniform(0, 0.5)):
                return
            world.note(f'    a {lost.what} {"happened" if happens else "did not happen"}, and nobody was told')


def lost_commit_reply(world, rng):
    lost_replies(world, rng, 'destination', lambda proxy, happens: proxy.swallow_commit(happens=happens))


def lost_produce_reply(world, rng):
    lost_replies(world, rng, 'kafka', lambda proxy, happens: proxy.swallow_produce(happens=happens))


FAULTS = [
    Fault('delay', delay, 2, ['proxy']),
    Fault('cut', cut, 2, ['proxy']),
    Fault('reset-connections', blink, 2, ['proxy']),
    Fault('blackhole', blackhole, 2, ['proxy']),
    Fault('narrow', narrow, 1, ['proxy']),
    Fault('lost-commit-reply', lost_commit_reply, 4, ['proxy']),
    Fault('lost-produce-reply', lost_produce_reply, 3, ['proxy']),
]
