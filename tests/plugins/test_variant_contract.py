"""What every registered layer must do, whoever registered it.

Each test runs over all variants of the layer kinds with their default options; a new plugin is covered by being
installed. A variant may refuse a shape, with a ValueError.
"""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest
import torch

from zoo.errors import SpecError
from zoo.registry import default_registry
from zoo.registry.options import Choice
from zoo.spec import structure

FILTERS = 6
MAPS = [(3, 8, 8), (16, 7, 5)]
UNITS = [(10,)]
SHAPES = {
    "activation": MAPS + UNITS,
    "normalization": MAPS + UNITS,
    "dropout": MAPS + UNITS,
    "filter": MAPS,
    "pooling": MAPS,
}
VARIANTS = [variant for kind in SHAPES for variant in default_registry().variants(kind).values()]


@attrs.frozen
class Case:
    """A variant at a shape."""

    variant: object
    shape: tuple[int, ...]

    def __str__(self):
        return f"{label(self.variant)} at {'x'.join(map(str, self.shape))}"

    def build(self, *, seed=0, dtype=torch.float32, training=True):
        torch.manual_seed(seed)
        defaults = Choice(self.variant.kind, self.variant.name, self.variant.options()).values()
        module = self.variant.make(defaults, shape=self.shape, filters=FILTERS)
        return module.to(dtype).train(training)

    def batch(self, *, seed=1, dtype=torch.float32, count=4):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.shape, generator=generator).to(dtype)


def label(variant):
    return f"{variant.kind} {variant.name}"


def accepts(case):
    try:
        case.build()
    except Exception:  # test_a_shape_is_built_or_refused_with_a_value_error says which
        return False
    return True


ALL_CASES = [Case(variant, shape) for variant in VARIANTS for shape in SHAPES[variant.kind]]
CASES = [case for case in ALL_CASES if accepts(case)]

each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=label)
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def applied(module, x, seed=2):
    """Run a module with the global generator at a known place, which is all that its draws may depend on."""
    torch.manual_seed(seed)
    return module(x)


def same(actual, expected, why, rtol=1e-5, atol=1e-6):
    torch.testing.assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=False, msg=lambda text: f"{why}\n{text}"
    )


@each_variant
def test_the_description_is_one_sentence(variant):
    text = variant.description
    assert text.endswith("."), (
        f"{label(variant)}: the first line of the factory's docstring is {text!r}; `zoo list` shows it, so it must be "
        "a sentence that ends in a period"
    )
    assert len(text) <= 120, f"{label(variant)}: its description of {len(text)} characters does not fit a line"


@each_variant
def test_every_option_refuses_a_wrong_type(variant):
    for option in attrs.fields(variant.options):
        # A table is no value of any option's type.
        tree = spec_with(variant, {option.name: {}})
        path = f"{place(variant)}.{option.name}"
        with pytest.raises(SpecError) as caught:
            structure(tree, "contract", default_registry())
        lines = [line for line in str(caught.value).splitlines() if f"{path}: expected " in line]
        assert lines, f"{label(variant)}: the error does not say what {path} should be:\n{caught.value}"


@each_variant
def test_unknown_options_are_refused(variant):
    with pytest.raises(SpecError, match="unknown option 'no_such_option'"):
        structure(spec_with(variant, {"no_such_option": 1}), "contract", default_registry())


@each_variant
def test_shared_options_survive_a_swap_by_bare_name(variant):
    others = [other for other in VARIANTS if other.kind == variant.kind]
    for option in attrs.fields(variant.options):
        for other in others:
            default = getattr(other.options(), option.name, attrs.NOTHING)
            if default is attrs.NOTHING:
                continue
            try:
                structure(spec_with(variant, {option.name: default}), "contract", default_registry())
            except SpecError as error:
                pytest.fail(
                    f"{label(variant)}: its option {option.name} does not accept {default!r}, the default of "
                    f"{other.name}, so it cannot take the place of {other.name} in a spec: {error}"
                )


def place(variant):
    return f"network.features[0].{variant.kind}"


def spec_with(variant, options):
    block = {"filters": FILTERS, variant.kind: {"name": variant.name, **options}}
    return {"network": {"features": [block]}, "training": {"epochs": 1}, "data": {"dataset": "digits"}}


@pytest.mark.parametrize("case", ALL_CASES, ids=str)
def test_a_shape_is_built_or_refused_with_a_value_error(case):
    try:
        case.build()
    except ValueError as error:
        if not str(error):
            pytest.fail(f"{case}: it refuses the shape without saying why, and the user sees nothing else")
    except Exception as error:
        pytest.fail(f"{case}: building raised {error!r}; only a ValueError tells the user that the shape does not fit")


@each_variant
def test_some_shape_is_accepted(variant):
    assert any(case.variant is variant for case in CASES), (
        f"{label(variant)}: with its default options it refuses all of {SHAPES[variant.kind]}; its defaults must work"
    )


@each_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@each_case
def test_shape_and_dtype(case, dtype, training):
    x = case.batch(dtype=dtype)
    y = applied(case.build(dtype=dtype, training=training), x)
    kept = y.shape[:1] if case.variant.changes_channels else y.shape[:2]
    assert y.dtype == dtype, f"{case}: {dtype} in must give {dtype} out, or the next layer fails"
    if case.variant.kind == "filter":
        assert y.shape[:2] == (4, FILTERS), f"{case}: expected (batch, filters, ...), got {tuple(y.shape)}"
        assert y.dim() == 4, f"{case}: a filter must give (batch, filters, height, width), got {tuple(y.shape)}"
    elif case.variant.kind == "pooling":
        assert kept == x.shape[: len(kept)], f"{case}: a pooling must keep the channels, got {tuple(y.shape)}"
        assert y.dim() == 4, f"{case}: a pooling must give (batch, channels, height, width), got {tuple(y.shape)}"
    else:
        assert (*kept, *y.shape[2:]) == (*x.shape[: len(kept)], *x.shape[2:]), (
            f"{case}: it must keep the shape {tuple(x.shape)}, got {tuple(y.shape)}"
        )
    assert y.numel(), f"{case}: nothing is left of the input: {tuple(y.shape)}"


@each_mode
@each_case
def test_output_and_gradients_are_finite_and_reach_everything(case, training):
    module = case.build(training=training)
    x = case.batch().requires_grad_()
    y = applied(module, x)
    assert y.isfinite().all(), f"{case}: the output for a standard normal batch is not finite"
    # Not the plain sum, whose gradient through a normalization is 0.
    (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    # What is measured and not trained, as by a whitening filter, says so.
    trained = {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}
    gradients = {"its input": x.grad, **trained}
    for name, gradient in gradients.items():
        assert gradient is not None, f"{case}: no gradient reaches {name}, so nothing before it would be trained"
        assert gradient.isfinite().all(), (
            f"{case}: the gradient of {name} is not finite; one step would destroy the net"
        )
    assert x.grad.any(), f"{case}: the gradient of its input is 0 everywhere, so nothing before it would be trained"


@each_case
def test_gradients_at_zero_are_finite(case):
    x = torch.zeros(4, *case.shape, requires_grad=True)
    applied(case.build(), x).sum().backward()
    assert x.grad.isfinite().all(), f"{case}: the gradient at 0 is not finite; after a ReLU many inputs are exactly 0"


@each_case
def test_evaluation_is_deterministic(case):
    module = case.build(training=False)
    same(
        applied(module, case.batch(), seed=2),
        applied(module, case.batch(), seed=3),
        f"{case}: two evaluations of one batch differ; what is measured must not depend on chance "
        "unless the option always_on asks for it",
        rtol=0,
        atol=0,
    )


@each_mode
@each_case
def test_the_seed_decides_everything(case, training):
    same(
        applied(case.build(training=training), case.batch()),
        applied(case.build(training=training), case.batch()),
        f"{case}: the same seed gave two results; draw from torch's global generator only, or runs cannot be repeated",
        rtol=0,
        atol=0,
    )


@each_case
def test_images_do_not_influence_each_other_in_evaluation(case):
    module = case.build()
    applied(module, case.batch())
    module.eval()
    x = case.batch(seed=5)
    same(
        applied(module, x[:1]),
        applied(module, x)[:1],
        f"{case}: in evaluation an image's output depends on its batch, so recall would depend on the batch size",
    )


@each_mode
@each_case
def test_the_input_is_not_modified(case, training):
    x = case.batch()
    applied(case.build(training=training), x)
    assert torch.equal(x, case.batch()), (
        f"{case}: it changed its input, which the layer before may need for its gradient"
    )


@each_case
def test_state_survives_saving_and_loading(case):
    module = case.build(seed=0)
    applied(module, case.batch())
    other = case.build(seed=1)
    other.load_state_dict(module.state_dict())
    same(
        applied(other.eval(), case.batch()),
        applied(module.eval(), case.batch()),
        f"{case}: after load_state_dict(state_dict()) it computes something else: state is missing from the state_dict",
    )


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=["deepcopy", "pickle"]
)
@each_case
def test_a_copy_computes_the_same_and_shares_nothing(case, copied):
    module = case.build()
    applied(module, case.batch())
    try:
        other = copied(module)
    except Exception as error:
        pytest.fail(f"{case}: it cannot be copied, so no worker process can be given it: {error!r}")
    same(applied(other, case.batch()), applied(module, case.batch()), f"{case}: its copy computes something else")
    shared = {t.data_ptr() for t in module.state_dict().values()} & {t.data_ptr() for t in other.state_dict().values()}
    assert not shared, f"{case}: its copy shares parameters or buffers, so training one would change the other"


@pytest.mark.parametrize("case", [case for case in CASES if len(case.shape) == 3], ids=str)
def test_the_memory_format_does_not_matter(case):
    module = case.build(training=False)
    same(
        applied(module, case.batch().to(memory_format=torch.channels_last)),
        applied(module, case.batch()),
        f"{case}: a channels_last input gives another result; training uses that format where it is faster",
    )


@each_mode
@each_case
def test_what_python_does_does_not_depend_on_values(case, training):
    module = case.build(training=training).to("meta")
    try:
        module(case.batch().to("meta"))
    except Exception as error:
        pytest.fail(
            f"{case}: on tensors without values it raised {type(error).__name__}: {error}\n"
            "An `if` on a value, or `.item()`, forbids capturing the training step as a graph"
        )


@each_case
def test_buffers_are_updated_in_place(case):
    module = case.build()
    before = {name: buffer.data_ptr() for name, buffer in module.named_buffers()}
    applied(module, case.batch())
    after = {name: buffer.data_ptr() for name, buffer in module.named_buffers()}
    assert after == before, f"{case}: a buffer was replaced; a captured training step would go on reading the old one"
