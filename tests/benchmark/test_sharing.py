"""Several commands on one ledger share the work: each run is trained once, whoever asks for it."""

from __future__ import annotations

import re
import sqlite3
import sys
import threading
import time

import attrs
import pytest
from small_runs import PLUGIN, executor, figures, small

from zoo.benchmark import carry_out, make_plan
from zoo.errors import LedgerError, PluginError
from zoo.execution.events import Ended, EpochFinished, Lost, Started
from zoo.execution.here import here
from zoo.ledger import Ledger
from zoo.registry import Plugin, Registry

REGISTRY = Registry(files=[PLUGIN]).require_sound()
SPEC = small(REGISTRY, "shared", {"training.epochs": 3})
PATIENCE = 60.0


class Command:
    """What a command does on a ledger, up to where it is told to wait."""

    def __init__(self, path, seeds, *, name="here", spec=SPEC):
        self.path, self.seeds, self.name, self.spec = path, seeds, name, spec
        self.said, self.events, self.runs = [], [], []

    def carry_out(self, watch=lambda event: None):
        def watch_all(event):
            self.events.append(event)
            watch(event)

        with Ledger(self.path) as ledger:
            plan = make_plan([self.spec], self.seeds, registry=REGISTRY, device="cpu", ledger=ledger)
            self.runs = carry_out(
                plan,
                registry=REGISTRY,
                devices=["cpu"],
                ledger=ledger,
                executor=executor(self.name, REGISTRY),
                watch=watch_all,
                say=self.said.append,
            )

    def trained(self):
        """The seeds of runs of which this command was told epochs."""
        return {event.run.key.seed for event in self.events if isinstance(event, EpochFinished)}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.benchmark.carrying_out.LOOK_EVERY", 0.05)
    return tmp_path / "zoo.sqlite"


def test_two_commands_started_together_train_each_run_once(path):
    commands = [Command(path, range(12)) for _ in range(2)]
    together = threading.Barrier(2)

    def begin(command):
        together.wait()
        command.carry_out()

    threads = [threading.Thread(target=begin, args=(command,)) for command in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    one, other = (command.trained() for command in commands)
    assert one | other == set(range(12)), [(run.key.seed, run.status, run.reason) for run in commands[0].runs]
    assert not one & other
    assert [run.key.seed for run in commands[0].runs] == list(range(12))
    assert commands[0].runs == commands[1].runs
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*), max(id) FROM run").fetchone() == (12, 12), "12 attempts in all"


def test_a_command_waits_for_runs_of_another_says_so_and_shows_them(path):
    first, second = Command(path, [0]), Command(path, [0, 1])
    inside, go_on = threading.Event(), threading.Event()

    def hold(event):
        if isinstance(event, EpochFinished) and not inside.is_set():
            inside.set()
            assert go_on.wait(PATIENCE)

    holding = threading.Thread(target=first.carry_out, args=(hold,))
    holding.start()
    assert inside.wait(PATIENCE)
    waiting = threading.Thread(target=second.carry_out)
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while not second.said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert second.trained() == {1}, "it goes on with others meanwhile"
    assert second.said[0].startswith("Another command (")
    assert second.said[0].endswith(") is training the rest; waiting for it.")
    go_on.set()
    holding.join(PATIENCE)
    waiting.join(PATIENCE)
    assert len(second.said) == 1, "once"
    assert second.runs[0] == first.runs[0]
    shown = [event for event in second.events if event.run.key.seed == 0]
    assert [type(event) for event in shown] == [Started, Ended]
    assert len(shown[1].run.epochs) == 3


def test_a_run_whose_command_is_gone_is_taken_over(path, monkeypatch):
    first, second = Command(path, [0]), Command(path, [0])
    inside, go_on = threading.Event(), threading.Event()

    def hold(event):
        inside.set()
        assert go_on.wait(PATIENCE)

    holding = threading.Thread(target=first.carry_out, args=(hold,))
    holding.start()
    assert inside.wait(PATIENCE)
    waiting = threading.Thread(target=second.carry_out)
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while not second.said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # As if the first command's process were gone; it is this one, which lives.
    monkeypatch.setattr("zoo.ledger.store.is_alive", lambda owner: False)
    waiting.join(PATIENCE)
    assert second.trained() == {0}
    assert second.said[1].startswith("Another command (")
    assert second.said[1].endswith(") is gone; 1 run that it began is trained here.")
    # The first was not gone but slept. It learns that its run is another's, and takes over what came of it.
    go_on.set()
    holding.join(PATIENCE)
    assert [line.partition(": ")[0] for line in first.said] == ["shared seed 0"]
    assert "another process has taken the run over" in first.said[0]
    assert first.runs == second.runs


def test_what_failed_elsewhere_is_not_tried_again_by_the_command_that_waited(path):
    failing = small(REGISTRY, "failing", {"network.features.0.activation": "raises"})
    first, second = Command(path, [0], spec=failing), Command(path, [0], spec=failing)
    inside, go_on = threading.Event(), threading.Event()

    def hold(event):
        inside.set()
        assert go_on.wait(PATIENCE)

    holding = threading.Thread(target=first.carry_out, args=(hold,))
    holding.start()
    assert inside.wait(PATIENCE)
    waiting = threading.Thread(target=second.carry_out)
    waiting.start()
    while not second.said:
        time.sleep(0.01)
    go_on.set()
    holding.join(PATIENCE)
    waiting.join(PATIENCE)
    assert [run.status for run in second.runs] == ["failed"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT max(id) FROM run").fetchone() == (1,)


class Executors:
    """A registry whose executors are all this one."""

    hook = REGISTRY.hook

    def __init__(self, executor):
        self._executor = executor

    def variant(self, kind, name):
        variant = REGISTRY.variant(kind, name)
        if kind != "executor":
            return variant
        plugin = Plugin("odd", "single file", __file__)
        return attrs.evolve(variant, factory=self._executor, given=("work",), plugin=plugin)

    def __getattr__(self, name):
        return getattr(REGISTRY, name)


def with_executor(path, made, seeds=(0, 1), watch=lambda event: None):
    with Ledger(path) as ledger:
        plan = make_plan([SPEC], list(seeds), registry=REGISTRY, device="cpu", ledger=ledger)
        return carry_out(
            plan,
            registry=Executors(made),
            devices=["cpu"],
            ledger=ledger,
            executor=executor("here", REGISTRY),
            watch=watch,
            say=print,
        )


def loses_one(work):
    run = next(work.runs)
    yield Started(run)
    yield Lost(run, "the machine is gone")
    yield from here(attrs.evolve(work, runs=iter([run])))
    yield from here(work)


def test_an_executor_that_loses_a_run_begins_it_again(path):
    runs = with_executor(path, loses_one)
    reference = Command(path.with_name("reference.sqlite"), [0, 1])
    reference.carry_out()
    assert [figures(run.epochs) for run in runs] == [figures(run.epochs) for run in reference.runs]


def test_a_run_that_was_lost_is_not_taken_for_failed_by_others(path):
    seen = []

    def watch(event):
        if isinstance(event, Lost):
            with Ledger(path) as other:
                seen.append((other.find_failed(event.run.key), list(other.training_elsewhere([event.run.key]))))

    with_executor(path, loses_one, watch=watch)
    ((failed, elsewhere),) = seen
    assert failed is None
    assert len(elsewhere) == 1


def leaves_out_an_epoch(work):
    for event in here(work):
        if not (isinstance(event, EpochFinished) and event.record.epoch == 2):
            yield event


def leaves_out_the_last_epoch(work):
    for event in here(work):
        if not (isinstance(event, EpochFinished) and event.record.epoch == 3):
            yield event


def never_tells_an_end(work):
    for event in here(work):
        if not isinstance(event, Ended):
            yield event


def tells_an_epoch_twice(work):
    for event in here(work):
        yield event
        if isinstance(event, EpochFinished):
            yield event


def raises_at_once(work):
    raise ValueError("no room")


def raises_on_the_way(work):
    for event in here(work):
        yield event
        if isinstance(event, EpochFinished):
            raise ValueError("lost the\nway")


def ends_the_process(work):
    yield Started(next(work.runs))
    sys.exit("enough")


class Odd(BaseException):
    """Neither an Exception nor Ctrl-C."""


def raises_something_odd(work):
    yield Started(next(work.runs))
    raise Odd


def raises_stop_iteration(work):
    raise StopIteration


def tells_words(work):
    for event in here(work):
        yield event.run.name


def tells_of_nothing(work):
    yield Started(None)


def tells_no_record(work):
    run = next(work.runs)
    yield Started(run)
    yield EpochFinished(run, 0.5)


def tells_of_another_run(work):
    for event in here(work):
        yield attrs.evolve(event, run=attrs.evolve(event.run, key=attrs.evolve(event.run.key, seed=9)))


def ends_as_it_likes(work):
    for event in here(work):
        yield Ended(attrs.evolve(event.run, status="done")) if isinstance(event, Ended) else event


def takes_none(work):
    yield from ()


def tells_no_beginning(work):
    yield from (event for event in here(work) if not isinstance(event, Started))


def tells_each_beginning_twice(work):
    for event in here(work):
        yield event
        if isinstance(event, Started):
            yield event


def ends_each_twice(work):
    for event in here(work):
        yield event
        if isinstance(event, Ended):
            yield event


HINT = f": `zoo --plugin {__file__} check executor:here` finds out what is wrong with it"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (leaves_out_an_epoch, "told epoch 3 where epoch 2 was due (shared seed 0)"),
        (leaves_out_the_last_epoch, "ended as finished after 2 of 3 epochs (shared seed 0)"),
        (tells_an_epoch_twice, "told epoch 1 where epoch 2 was due (shared seed 0)"),
        (ends_as_it_likes, "ended as done after 3 of 3 epochs (shared seed 0)"),
        (tells_of_another_run, "told of a run that it was not given (shared seed 9)"),
        (never_tells_an_end, "has not told how 2 of its runs ended"),
        (takes_none, "was done when it had not taken 2 of the runs"),
        (tells_no_beginning, "told EpochFinished before Started (shared seed 0)"),
        (tells_each_beginning_twice, "told Started twice (shared seed 0)"),
        (lambda work: list(here(work)), "gave an object of type list, not a generator of events"),
        (tells_words, "told a str, which is no event"),
        (tells_of_nothing, "told Started of a NoneType, not of a run"),
        (tells_no_record, "told EpochFinished with a float, not with a record"),
        (raises_at_once, f"raised ValueError: no room (line LINE of {__file__})"),
        (raises_stop_iteration, f"raised StopIteration (line LINE of {__file__})"),
        (raises_on_the_way, f"raised ValueError: lost the way (line LINE of {__file__})"),
        (ends_the_process, f"raised SystemExit: enough (line LINE of {__file__})"),
        (raises_something_odd, f"raised Odd (line LINE of {__file__})"),
    ],
)
def test_an_executor_that_breaks_its_contract_stores_no_such_run(path, made, message):
    with pytest.raises(PluginError) as caught:
        with_executor(path, made)
    said = re.sub(r"line \d+ of", "line LINE of", str(caught.value))
    assert said == f"the executor here of plugin odd (single file, {__file__}) {message}{HINT}"
    with Ledger(path) as ledger:
        assert ledger.runs() == []
    reference = Command(path, [0, 1])
    reference.carry_out()
    assert [run.status for run in reference.runs] == ["finished"] * 2, "its claims were given back"


def test_an_executor_that_tells_an_end_twice_is_stopped(path):
    with pytest.raises(PluginError, match=r"told Ended after the run's end \(shared seed 0\)"):
        with_executor(path, ends_each_twice)


def cannot_stop(work):
    try:
        yield from here(work)
    finally:
        raise OSError("it will not stop")


def test_an_executor_that_cannot_stop_hides_neither_why_work_ends_nor_ctrl_c(path, capsys):
    def interrupt(event):
        raise LedgerError("the disk is full")

    with pytest.raises(LedgerError, match=r"^the disk is full$"):
        with_executor(path, cannot_stop, watch=interrupt)
    assert "(single file, " in capsys.readouterr().out
    with pytest.raises(PluginError, match="raised OSError: it will not stop"):
        with_executor(path, cannot_stop)

    def interrupted(work):
        try:
            yield Started(next(work.runs))
            raise KeyboardInterrupt
        finally:
            raise OSError("it will not stop")

    with pytest.raises(KeyboardInterrupt):
        with_executor(path, interrupted, seeds=(2,))


def test_what_interrupts_gives_the_claims_back_though_the_ledger_stays_open(path):
    def interrupt(event):
        raise KeyboardInterrupt

    with Ledger(path) as ledger:
        plan = make_plan([SPEC], [0], registry=REGISTRY, device="cpu", ledger=ledger)
        arguments = {"registry": REGISTRY, "devices": ["cpu"], "executor": executor("here", REGISTRY), "say": print}
        with pytest.raises(KeyboardInterrupt):
            carry_out(plan, ledger=ledger, watch=interrupt, **arguments)
        with Ledger(path) as other:
            (run,) = carry_out(plan, ledger=other, watch=lambda event: None, **arguments)
    assert run.status == "finished"


def test_a_variant_that_was_edited_after_planning_is_not_trained_under_its_old_key(path, tmp_path):
    file = tmp_path / "edited.py"
    text = "import torch, zoo\n\n\ndef edited(*, slope: float = 0.1):\n    return torch.nn.LeakyReLU(slope)\n\n\n"
    text += "@zoo.hookimpl\ndef zoo_register_activations(register):\n    register('edited', edited)\n"
    file.write_text(text)
    registry = Registry(files=[PLUGIN, file]).require_sound()
    spec = small(registry, "edited", {"activation": "edited"})
    with Ledger(path) as ledger:
        plan = make_plan([spec], [0, 1], registry=registry, device="cpu", ledger=ledger)
        file.write_text(text.replace("0.1", "0.9"))
        runs = carry_out(
            plan,
            registry=registry,
            devices=["cpu"],
            ledger=ledger,
            executor=executor("processes", registry),
            watch=lambda event: None,
            say=print,
        )
    assert [run.status for run in runs] == ["failed"] * 2
    assert runs[0].reason.startswith("the source of one of its variants was edited since the run was planned")
