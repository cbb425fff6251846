"""The encoder-decoders: published sizes, steps that equal teacher forcing, padding and order that change nothing."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.models.attention import AdditiveAttention, BilinearAttention, DotAttention
from dlbench.models.cost import count_parameters
from dlbench.models.seq2seq import Seq2Seq
from dlbench.models.transformer import Transformer

SYMBOLS: dict[str, Any] = {"source_symbols": 20, "target_symbols": 15}
MODELS = {
    "lstm": lambda: Seq2Seq(**SYMBOLS, size=16),
    "additive": lambda: Seq2Seq(**SYMBOLS, size=16, attention=AdditiveAttention),
    "bilinear": lambda: Seq2Seq(**SYMBOLS, size=16, attention=BilinearAttention),
    "dropout before attention": lambda: Seq2Seq(
        **SYMBOLS, size=16, attention=BilinearAttention, output_dropout_place="before_attention"
    ),
    "one direction, output of its own": lambda: Seq2Seq(**SYMBOLS, size=16, bidirectional=False, tied_output=False),
    "two layers, dot": lambda: Seq2Seq(**SYMBOLS, size=16, attention=DotAttention, layers=2),
    "transformer": lambda: Transformer(**SYMBOLS, size=16, feedforward=24),
}
all_models = pytest.mark.parametrize("name", MODELS)


def model_of(name: str) -> Any:
    torch.manual_seed(3)
    return MODELS[name]().eval()


def random_batch(lengths: list[int], target_length: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(sum(lengths))
    longest = max(lengths)
    source = torch.randint(4, 20, (len(lengths), longest), generator=stream)
    source[torch.arange(longest) >= torch.tensor(lengths)[:, None]] = 0
    target = torch.randint(4, 15, (len(lengths), target_length), generator=stream)
    return source, torch.tensor(lengths), target


@pytest.mark.parametrize(
    ("vocabularies", "attention", "parameters"),
    [
        ((107, 93), None, 257_117),
        ((107, 93), AdditiveAttention, 322_781),
        ((34, 34), None, 240_162),
        ((34, 34), BilinearAttention, 289_442),
    ],
)
def test_published_parameter_counts(vocabularies: tuple[int, int], attention: Any, parameters: int) -> None:
    source, target = vocabularies
    assert count_parameters(Seq2Seq(source_symbols=source, target_symbols=target, attention=attention)) == parameters


def test_the_transformer_has_about_as_many_parameters_as_the_lstm_with_attention() -> None:
    sizes = {"source_symbols": 107, "target_symbols": 93}
    ours, theirs = (
        count_parameters(model) for model in (Transformer(**sizes), Seq2Seq(**sizes, attention=AdditiveAttention))
    )
    assert ours == 328_413  # as its documentation says
    assert abs(ours - theirs) < 0.05 * theirs


@pytest.mark.parametrize("name", ["lstm", "one direction, output of its own"])
def test_the_decoder_starts_from_the_final_states_of_every_direction(name: str) -> None:
    model, (source, lengths, target) = model_of(name), random_batch([5, 2, 7, 1])
    _, hidden, cell = model.encoder(source, lengths)
    for row, length, states in zip(source, lengths, hidden[0], strict=True):
        _, (last, _) = model.encoder.lstm(model.encoder.embedding(row[None, :length]))
        torch.testing.assert_close(last.flatten(), states, atol=1e-5, rtol=1e-4)
    outputs, _ = model.lstm(model.embedding(target), (hidden, cell))
    torch.testing.assert_close(model.output(outputs), model(source, lengths, target), atol=1e-5, rtol=1e-4)


@all_models
def test_step_by_step_equals_all_at_once(name: str) -> None:
    model, (source, lengths, target) = model_of(name), random_batch([5, 2, 7, 1])
    state, steps = model.encode(source, lengths), []
    for tokens in target.unbind(dim=1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, dim=1), model(source, lengths, target), atol=1e-5, rtol=1e-4)


@all_models
@given(lengths=st.lists(st.integers(1, 8), min_size=1, max_size=5), more=st.integers(0, 4), seed=st.integers(0, 99))
def test_padding_and_batch_order_change_nothing(name: str, lengths: list[int], more: int, seed: int) -> None:
    model, (source, counts, target) = model_of(name), random_batch(lengths)
    together = model(nn.functional.pad(source, (0, more)), counts, target)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(model(source[order], counts[order], target[order]), together[order], **close)
    for row, length in enumerate(lengths):
        alone = model(source[row : row + 1, :length], counts[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(alone[0], together[row], **close)


@all_models
def test_what_comes_later_changes_no_earlier_prediction(name: str) -> None:
    model, (source, lengths, target) = model_of(name), random_batch([4, 3])
    other = target.clone()
    other[:, 3:] = 4
    before = model(source, lengths, target)[:, :3]
    torch.testing.assert_close(model(source, lengths, other)[:, :3], before, atol=1e-5, rtol=1e-4)


@all_models
def test_every_parameter_learns_and_output_and_embedding_are_one(name: str) -> None:
    model, (source, lengths, target) = model_of(name).train(), random_batch([5, 2])
    model(source, lengths, target).square().sum().backward()
    assert [weight for weight, value in model.named_parameters() if value.grad is None] == []
    assert (model.output.weight is model.embedding.weight) == (name != "one direction, output of its own")


@pytest.mark.parametrize(
    ("place", "dropped"), [("before_attention", (True, False)), ("after_attention", (False, True))]
)
def test_output_dropout_stands_before_attention_or_after_it(place: Any, dropped: tuple[bool, bool]) -> None:
    """d2223's course drops what attention reads and nothing after it; the others right before the output layer."""
    seen = {}
    model = Seq2Seq(**SYMBOLS, size=64, attention=BilinearAttention, output_dropout=0.5, output_dropout_place=place)
    model.attention.register_forward_pre_hook(lambda _, inputs: seen.update(attention=inputs[0]))
    model.output.register_forward_pre_hook(lambda _, inputs: seen.update(output=inputs[0]))
    model(*random_batch([5, 2, 7, 1]))
    shares = [float((seen[reader] == 0).float().mean()) for reader in ("attention", "output")]
    assert shares == [pytest.approx(0.5, abs=0.1) if drops else 0 for drops in dropped]


@pytest.mark.parametrize("options", [{}, {"embedding_dropout": 0.0}, {"encoder_output_dropout": 0.0}])
def test_encoder_dropout_can_stand_in_one_of_its_places_alone(options: dict[str, float]) -> None:
    model = Seq2Seq(**SYMBOLS, size=64, encoder_dropout=0.5, **options)
    seen = {}
    model.encoder.embedding_dropout.register_forward_hook(lambda _, inputs, outputs: seen.update(embedded=outputs))
    outputs, _, _ = model.encoder(torch.randint(4, 20, (8, 9)), torch.full((8,), 9))
    assert bool((seen["embedded"] == 0).any()) == ("embedding_dropout" not in options)
    assert bool((outputs == 0).any()) == ("encoder_output_dropout" not in options)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "transformer"])
@pytest.mark.parametrize("written", [[1, 9, 2, 1, 3], [4, 4, 3, 4, 4]])  # mostly padding, and hardly any
def test_a_batch_has_the_losses_and_gradients_of_its_rows_alone(name: str, written: list[int]) -> None:
    """However it is sorted and cut up: in double precision the two differ by rounding alone."""
    model = model_of(name).double()
    source, lengths, _ = random_batch([5, 2, 7, 1, 4])
    target = torch.full((5, max(written) + 2), PAD)
    for row, count in enumerate(written):
        target[row, : count + 2] = torch.tensor([SOS, *range(4, 4 + count), EOS])

    def gradients(*rows: slice) -> list[Tensor]:
        losses = []
        for part in rows:
            longest = max(written[part]) + 1
            logits = model(source[part], lengths[part], target[part, :longest])
            truth = target[part, 1 : longest + 1].flatten()
            losses.append(nn.functional.cross_entropy(logits.flatten(0, 1), truth, ignore_index=PAD, reduction="sum"))
        return [sum(losses), *torch.autograd.grad(sum(losses), list(model.parameters()))]

    together, alone = gradients(slice(0, 5)), gradients(*(slice(row, row + 1) for row in range(5)))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of heads=4"):
        Transformer(**SYMBOLS, size=30)
