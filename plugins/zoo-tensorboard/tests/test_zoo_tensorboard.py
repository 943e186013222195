"""What TensorBoard reads of runs that zoo trained, and of runs made up here."""

import json

import attrs
import pytest
from click.testing import CliRunner

import zoo
from zoo.cli import main

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

import zoo_tensorboard
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

EPOCHS = 2
SPECS = ("starter/default[activation=relu]", "starter/default[activation=mish]")


def command(*arguments, **variables):
    return CliRunner().invoke(main, arguments, prog_name="zoo", env=variables, catch_exceptions=False)


def read(folder):
    events = EventMultiplexer()
    events.AddRunsFromDirectory(str(folder))
    return events.Reload()


def text(events, run, tag):
    (tensor,) = events.Tensors(run, f"{tag}/text_summary")
    return tensor.tensor_proto.string_val[0].decode()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What TensorBoard reads of two specs, and zoo's own results of them."""
    folder = tmp_path_factory.mktemp("trained")
    ledger = ("--ledger", str(folder / "zoo.sqlite"))
    vary = ("--vary", "activation=relu,mish", "--epochs", str(EPOCHS), "--seeds", "1", "--jobs", "1")
    logdir = {zoo_tensorboard.LOGDIR_VARIABLE: str(folder / "logs")}
    ended = command("benchmark", "starter/default", *vary, *ledger, **logdir)
    assert ended.exit_code == 0, ended.stderr
    assert "raised" not in ended.stderr
    results = json.loads(command("results", *ledger, "--json").stdout)
    return read(folder / "logs"), results


def of(events, spec):
    """The run of a spec, as TensorBoard names it."""
    (run,) = (run for run in events.Runs() if run.startswith(f"{spec}/seed-0-"))
    return run


def test_each_run_has_a_folder(trained):
    events, _ = trained
    assert len(events.Runs()) == len(SPECS)
    for spec in SPECS:
        assert of(events, spec)


@pytest.mark.parametrize("spec", SPECS)
def test_the_curves_end_in_zoo_s_own_figures(trained, spec):
    events, results = trained
    (row,) = (row for row in results if row["spec"] == spec)
    every = list(range(1, EPOCHS + 1))
    # The training images are evaluated after the last epoch only.
    for tag, column, steps in (("recall/test", "test_recall", every), ("recall/train", "train_recall", every[-1:])):
        points = events.Scalars(of(events, spec), tag)
        assert [point.step for point in points] == steps, tag
        assert points[-1].value == pytest.approx(row[column], abs=1e-6), tag
    losses = [point.value for point in events.Scalars(of(events, spec), "loss/train")]
    assert losses == sorted(losses, reverse=True), "the loss falls"


@pytest.mark.parametrize("spec", SPECS)
def test_the_hparams_table_has_a_row(trained, spec):
    events, _ = trained
    content = events.PluginRunToTagToContent("hparams")[of(events, spec)]
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    values = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
    assert values["network.features.0.activation.name"] == spec.partition("=")[2].rstrip("]")
    assert values["training.epochs"] == EPOCHS
    assert (values["dataset"], values["precision"]) == ("digits", "fp32")
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    named = {info.name.tag for info in experiment.metric_infos}
    assert {"recall/test", "accuracy/test", "loss/train"} <= named
    assert named <= {*events.Runs()[of(events, spec)]["scalars"]}, "each is the end of a curve"


def test_the_texts(trained):
    events, _ = trained
    run = of(events, SPECS[0])
    spec = json.loads("".join(line[4:] for line in text(events, run, "spec").splitlines()))
    assert spec["training"]["epochs"] == EPOCHS
    assert text(events, run, "status") == "finished"
    table = [row.strip("| ").split(" | ") for row in text(events, run, "confusion/test").splitlines()]
    counts = [[int(cell) for cell in row[1:]] for row in table[2:]]
    assert len(counts) == 10
    assert sum(map(sum, counts)) == 355, "all test images of digits"
    right = sum(counts[i][i] for i in range(10)) / 355
    assert right == pytest.approx(events.Scalars(run, "accuracy/test")[-1].value, abs=1e-6)


KEY = zoo.RunKey(spec="a" * 64, seed=3, dataset="b" * 64, source="c" * 64, precision="fp32")
RUN = zoo.Run(KEY, "mine/wide", {"training": {"epochs": 2, "shuffle": True}, "reference": None}, "digits")


def epoch(number, loss=0.5):
    return zoo.EpochRecord(number, loss, 1.0, 0.5, {"test": zoo.Evaluation(((8, 2), (0, 10)))})


@pytest.fixture
def logdir(tmp_path, monkeypatch):
    monkeypatch.setenv(zoo_tensorboard.LOGDIR_VARIABLE, str(tmp_path / "logs"))
    return tmp_path / "logs"


def test_figures_are_computed_from_the_confusion_matrix():
    assert zoo_tensorboard.figures(epoch(1)) == pytest.approx(
        {"loss/train": 0.5, "seconds/training": 1, "seconds/evaluation": 0.5, "recall/test": 0.9, "accuracy/test": 0.9}
    )
    unevaluated = zoo.EpochRecord(1, 0.5, 1.0, 0.0)
    assert set(zoo_tensorboard.figures(unevaluated)) == {"loss/train", "seconds/training"}


def test_a_run_that_is_lost_begins_anew_in_the_same_folder(logdir):
    zoo_tensorboard.zoo_run_started(RUN)
    zoo_tensorboard.zoo_epoch_finished(RUN, epoch(1))
    zoo_tensorboard.zoo_run_started(RUN)
    zoo_tensorboard.zoo_epoch_finished(RUN, epoch(1))
    zoo_tensorboard.zoo_epoch_finished(RUN, epoch(2))
    zoo_tensorboard.zoo_run_finished(attrs.evolve(RUN, status="finished"))
    events = read(logdir)
    (run,) = events.Runs()
    assert run == str(zoo_tensorboard.folder(RUN).relative_to(logdir))
    assert {point.step for point in events.Scalars(run, "recall/test")} == {1, 2}


def test_an_epoch_is_there_while_the_run_goes_on(logdir):
    zoo_tensorboard.zoo_run_started(RUN)
    zoo_tensorboard.zoo_epoch_finished(RUN, epoch(1))
    events = read(logdir)
    assert [point.step for point in events.Scalars(*events.Runs(), "loss/train")] == [1]
    zoo_tensorboard.zoo_run_finished(attrs.evolve(RUN, status="finished"))


@pytest.mark.parametrize("epochs", [0, 1])
def test_how_a_run_ended_is_said(logdir, epochs):
    zoo_tensorboard.zoo_run_started(RUN)
    for number in range(epochs):
        zoo_tensorboard.zoo_epoch_finished(RUN, epoch(number + 1))
    zoo_tensorboard.zoo_run_finished(attrs.evolve(RUN, status="diverged", reason="diverged at epoch 2"))
    events = read(logdir)
    assert text(events, *events.Runs(), "status") == "diverged: diverged at epoch 2"


def test_runs_that_differ_have_folders_of_their_own(logdir):
    others = [attrs.evolve(RUN, key=attrs.evolve(KEY, **change)) for change in ({"seed": 4}, {"source": "d" * 64})]
    others.append(attrs.evolve(RUN, name="mine/narrow"))
    folders = {zoo_tensorboard.folder(run) for run in (RUN, *others)}
    assert len(folders) == 4
    assert zoo_tensorboard.folder(attrs.evolve(RUN, status="finished")) in folders


def test_a_name_that_no_folder_can_have_is_changed(logdir):
    run = attrs.evolve(RUN, name='mine[activation={name = "elu", alpha = 2}, x=*]')
    assert zoo_tensorboard.folder(run).parent.name == "mine[activation={name_=_elu_,_alpha_=_2},_x=_]"


def test_what_could_not_be_opened_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(zoo_tensorboard.LOGDIR_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        zoo_tensorboard.zoo_run_started(RUN)
    zoo_tensorboard.zoo_epoch_finished(RUN, epoch(1))
    zoo_tensorboard.zoo_run_finished(attrs.evolve(RUN, status="finished"))


def test_a_run_is_trained_though_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = ("--ledger", str(tmp_path / "zoo.sqlite"))
    logdir = {zoo_tensorboard.LOGDIR_VARIABLE: str(tmp_path / "file")}
    ended = command("benchmark", "starter/default", "--epochs", "1", "--seeds", "1", "--jobs", "1", *ledger, **logdir)
    assert ended.exit_code == 0, ended.stderr
    (line,) = (line for line in ended.stderr.splitlines() if " raised " in line)
    assert line.startswith("plugin zoo_tensorboard: its hook zoo_run_started ")
    assert line.endswith("; going on")
    assert "starter/default" in ended.stdout


def test_stored_runs_are_written_afterwards(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(
        "benchmark", "starter/default", "--epochs", "2", "--seeds", "2", "--jobs", "1", ZOO_TENSORBOARD_LOGDIR="live"
    )
    live = read("live").Runs()
    for new, there in ((2, 0), (0, 2)):
        result = command("results", "--to", "tensorboard:after")
        assert result.exit_code == 0
        assert f"TensorBoard: {new} runs written to after; {there} were there already." in result.stderr
    after = read("after")
    assert after.Runs().keys() == live.keys()
    for run in live:
        assert [point.step for point in after.Scalars(run, "recall/test")] == [1, 2]
