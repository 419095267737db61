"""Neither a poke nor a ring is lost, however busy the owner of the bell is."""

from __future__ import annotations

import selectors
from collections.abc import Iterator

import pytest

from cc_orchestrator.core.ids import new_id
from cc_orchestrator.host import bell as bells


@pytest.fixture
def bell() -> Iterator[bells.Bell]:
    owner = bells.Bell.create(bells.new_path(new_id("run")))
    yield owner
    owner.close()


def served(owner: bells.Bell, selector: selectors.BaseSelector) -> list[bool]:
    """Serve what is ready; whether each was a poke."""
    return [owner.on_readable(key) for key, _events in selector.select(2.0)]


def test_a_poke_is_heard_when_the_owner_rings_after_the_poker_has_gone(bell: bells.Bell) -> None:
    with selectors.DefaultSelector() as selector:
        bell.register(selector)
        assert bells.poke(bell.path)
        assert served(bell, selector) == [False], "the connection is taken in"
        bell.ring()
        bell.ring()
        assert served(bell, selector) == [True], "the poke that lay in the socket is still heard"
        assert served(bell, selector) == [False], "and then the poker is forgotten"
        assert list(selector.get_map()) == [bell.fileno()]


def test_who_came_before_a_ring_but_was_taken_in_after_it_looks_once_more(bell: bells.Bell) -> None:
    with selectors.DefaultSelector() as selector:
        bell.register(selector)
        first, second = bells.listen(bell.path), bells.listen(bell.path)
        assert first is not None
        assert second is not None
        with first, second:
            bell.ring()
            served(bell, selector)
            assert first.recv(10)
            assert second.recv(10)
            bell.ring()
            assert first.recv(10)
            assert second.recv(10)


def test_a_ring_of_an_owner_without_a_loop_reaches_all_who_came(bell: bells.Bell) -> None:
    ears = [bells.listen(bell.path) for _ in range(3)]
    bell.ring()
    for ear in ears:
        assert ear is not None
        with ear:
            assert ear.recv(10)
