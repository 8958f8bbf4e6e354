"""The one equation, compared with plain loops."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpatch import Edit, Mask
from ganpatch.patch.equation import Terms, edited, replaced, terms


def brute(y: torch.Tensor, edit: Edit) -> torch.Tensor:
    """y'[n,u,h,w] = y + alpha[u] * mask[u,h,w] * [y > above[u]] * (value[u] - y), element by element."""
    out = y.clone()
    pick = lambda numbers, place: numbers[place if len(numbers) > 1 else 0]  # noqa: E731
    for n, (place, u), h, w in itertools.product(
        range(y.shape[0]), enumerate(edit.units), range(y.shape[2]), range(y.shape[3])
    ):
        mask = 1.0
        if edit.mask is not None:
            values = edit.mask.values
            mask = float(values[h, w] if values.ndim == 2 else values[place, h, w])
        passes = edit.above is None or y[n, u, h, w] > pick(edit.above, place)
        if passes:
            out[n, u, h, w] += pick(edit.alpha, place) * mask * (pick(edit.value, place) - y[n, u, h, w])
    return out


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_equation(data: st.DataObject) -> None:
    channels, size = data.draw(st.integers(1, 6)), (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)))
    units = sorted(data.draw(st.sets(st.integers(0, channels - 1), min_size=1)))
    number = st.floats(-2, 2, width=32)

    def some(strategy: st.SearchStrategy[float]) -> list[float] | float:
        return data.draw(st.lists(strategy, min_size=len(units), max_size=len(units)) | strategy)

    fields: dict[str, object] = {"alpha": some(st.floats(0, 1, width=32)), "value": some(number)}
    if data.draw(st.booleans()):
        fields["above"] = some(number)
    if data.draw(st.booleans()):
        shape = data.draw(st.sampled_from([size, (len(units), *size)]))
        fields["mask"] = Mask.of(torch.rand(shape, generator=torch.Generator().manual_seed(1)))
    edit = Edit(id="e", layer="l", channels=channels, units=units, **fields)
    y = torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = edited(y, terms(edit, dims=2))
    assert torch.allclose(found, brute(y, edit), atol=1e-12)
    others = [u for u in range(channels) if u not in units]
    assert torch.equal(found[:, others], y[:, others])


def test_alpha_1_replaces_wholly_and_alpha_0_not_at_all() -> None:
    y = torch.randn(3, 4, 5, 5)
    whole = edited(y, terms(Edit(id="e", layer="l", channels=4, units=[1], value=0.3), dims=2).to(y))
    assert (whole[:, 1] == torch.tensor(0.3)).all()
    nothing = edited(y, terms(Edit(id="e", layer="l", channels=4, units=[1], alpha=0.0, value=9.0), dims=2).to(y))
    assert torch.equal(nothing, y)


def test_a_gated_edit_leaves_what_is_below_bit_for_bit() -> None:
    y = torch.randn(4, 3, 6, 6)
    gated = edited(y, terms(Edit(id="e", layer="l", channels=3, units=[0, 2], above=0.5), dims=2).to(y))
    low = y <= 0.5
    low[:, 1] = True
    assert torch.equal(gated[low], y[low])
    assert (gated[~low] == 0).all()


def test_layers_without_maps() -> None:
    y = torch.randn(4, 3)
    assert torch.equal(
        edited(y, terms(Edit(id="e", layer="l", channels=3, units=[1]), dims=0).to(y))[:, 1], torch.zeros(4)
    )


def test_terms_of_any_tensors_are_the_equation_and_gradients_flow_into_them() -> None:
    source = torch.Generator().manual_seed(3)
    y, value = (torch.randn(2, 3, 4, 5, generator=source, dtype=torch.float64) for _ in range(2))
    alpha = torch.rand(3, generator=source, dtype=torch.float64, requires_grad=True)
    mask, above = torch.rand(2, 1, 4, 5, generator=source, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    found = edited(y, Terms.of(alpha.view(1, -1, 1, 1) * mask, value, above))
    wanted = y + alpha.detach().view(1, -1, 1, 1) * mask * (y > 0) * (value - y)
    assert torch.allclose(found, wanted, atol=1e-12)
    amount = alpha.detach().view(1, -1, 1, 1) * mask
    assert torch.allclose(replaced(y, amount, value), edited(y, Terms.of(amount, value)), atol=1e-12)
    found.sum().backward()
    assert alpha.grad is not None
    assert torch.allclose(alpha.grad, (mask * (y > 0) * (value - y)).sum((0, 2, 3)), atol=1e-12)
