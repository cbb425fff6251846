"""What holds for every decoder; greedy decoding; ensembles."""

from typing import Any

import hydra.utils
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from step_models import SYMBOLS, Markov, Recurrent, sources, trimmed

from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.decoding.beam import Beam
from dlbench.decoding.hypotheses import Ensemble
from dlbench.decoding.sampling import Greedy, Nucleus, TopK
from dlbench.paths import conf
from dlbench.protocols import Decoder, Hypotheses, StepModel

DECODERS: dict[str, Decoder] = {
    "greedy": Greedy(12),
    "nucleus": Nucleus(p=0.9, samples=3, max_length=12),
    "top_k": TopK(k=4, temperature=1.5, samples=2, max_length=12),
    "beam": Beam(width=4, nbest=3, max_length=12),
    "beam-normalised": Beam(width=3, nbest=3, length_normalisation=1.0, max_length=12),
}
MODELS: dict[str, StepModel] = {"one": Recurrent(1), "ensemble": Ensemble([Recurrent(1), Recurrent(2), Recurrent(3)])}
every_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS.keys())
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def decode(decoder: Decoder, model: StepModel, count: int = 40) -> Hypotheses:
    source, lengths = sources(count)
    return decoder(model, source, lengths, torch.arange(count), 42)


def rescored(model: StepModel, tokens: list[int], source: torch.Tensor) -> float:
    """The log-probability of tokens, by steps of a batch of one."""
    state = model.encode(source[None], torch.tensor([len(source)]))
    total = 0.0
    for last, following in zip([SOS, *tokens], tokens, strict=False):
        logits, state = model.step(torch.tensor([last]), state)
        total += logits[0].double().log_softmax(dim=-1)[following].item()
    return total


# --- every decoder ---------------------------------------------------------------------------------------------------


@every_model
@every_decoder
def test_batch_order_size_and_padding_change_nothing(decoder: Decoder, model: StepModel) -> None:
    source, lengths = sources(40)
    whole = decode(decoder, model)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    for part in order.split([1, 2, 7, 30]):
        padded = torch.nn.functional.pad(source[part], (0, 5))
        found = decoder(model, padded, lengths[part], part, 42)
        for row, place in enumerate(part.tolist()):
            assert list(map(trimmed, found.tokens[row])) == list(map(trimmed, whole.tokens[place]))
        torch.testing.assert_close(found.log_probs, whole.log_probs[part], rtol=1e-4, atol=1e-4)


@every_model
@every_decoder
def test_log_probabilities_are_the_models_own(decoder: Decoder, model: StepModel) -> None:
    source, lengths = sources(10)
    found = decode(decoder, model, 10)
    assert found.log_probs.dtype == torch.float32
    for place in range(10):
        expected = [
            rescored(model, trimmed(tokens)[: found.tokens.shape[2]], source[place, : lengths[place]])
            for tokens in found.tokens[place]
        ]
        torch.testing.assert_close(found.log_probs[place], torch.tensor(expected), rtol=1e-4, atol=1e-4)


@every_decoder
def test_hypotheses_end_with_eos_or_at_the_longest_length(decoder: Decoder) -> None:
    tokens = decode(decoder, Recurrent(1)).tokens
    ends = {len(trimmed(hypothesis)) for hypothesis in tokens.flatten(0, 1)}
    assert tokens.dtype == torch.int64
    assert tokens.shape[2] == max(ends) <= 12
    assert len(ends) > 3, "the test needs hypotheses of many lengths"
    for hypothesis in tokens.flatten(0, 1):
        assert not hypothesis[len(trimmed(hypothesis)) :].any()


@every_decoder
def test_one_step_only(decoder: Decoder) -> None:
    short = type(decoder)(**{**vars(decoder), "max_length": 1})  # type: ignore[call-arg]
    assert decode(short, Recurrent(1)).tokens.shape[2] == 1


@every_decoder
def test_a_diverged_model_is_decoded_to_something(decoder: Decoder) -> None:
    model = Markov(0)
    model.logits.fill_(torch.nan)
    assert len(decode(decoder, model).tokens) == 40


@pytest.mark.parametrize("name", ["greedy", "nucleus", "top_k", "beam"])
def test_configurations_name_every_setting(name: str) -> None:
    path = conf() / "decoding" / f"{name}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# @package evaluation.decoding\n")
    node = OmegaConf.load(path)
    decoder = hydra.utils.instantiate(node)
    assert {key: value for key, value in node.items() if key != "_target_"} == vars(decoder)
    assert len(decode(decoder, Recurrent(1)).tokens) == 40


# --- greedy ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), max_length=st.integers(1, 15))
def test_greedy_is_the_argmax_step_by_step(seed: int, max_length: int) -> None:
    model = Recurrent(seed)
    source, lengths = sources(6, seed)
    found = Greedy(max_length)(model, source, lengths, torch.arange(6), 0)
    assert found.tokens.shape[:2] == (6, 1)
    assert found.attention is not None
    assert found.attention.shape == (6, found.tokens.shape[2], source.shape[1])
    for place in range(6):
        state = model.encode(source[place : place + 1], lengths[place : place + 1])
        last, tokens = SOS, []
        while len(tokens) < max_length and last != EOS:
            logits, state = model.step(torch.tensor([last]), state)
            last = int(logits[0].argmax())
            torch.testing.assert_close(found.attention[place, len(tokens)], state["attention"][0])
            tokens.append(last)
        assert trimmed(found.tokens[place, 0])[: len(tokens)] == tokens
        assert not found.tokens[place, 0, len(tokens) :].any()
        assert not found.attention[place, len(tokens) :].any()


def test_greedy_may_produce_specials_as_in_the_reports() -> None:
    model = Markov(0)
    model.logits[..., PAD] = 100.0
    found = Greedy(4)(model, *sources(2), torch.arange(2), 0)
    assert found.tokens.shape == (2, 1, 4)
    torch.testing.assert_close(found.log_probs, torch.zeros(2, 1))
    assert found.attention is None, "the model has none"


# --- ensembles -------------------------------------------------------------------------------------------------------


def test_an_ensemble_averages_probabilities_at_every_step() -> None:
    members = [Recurrent(seed) for seed in range(3)]
    source, lengths = sources(5)
    ensemble = Ensemble(members)
    state, states = ensemble.encode(source, lengths), [member.encode(source, lengths) for member in members]
    for last in torch.randint(0, SYMBOLS, (4, 5), generator=torch.Generator().manual_seed(0)):
        logits, state = ensemble.step(last, state)
        mean = torch.zeros(5, SYMBOLS)
        for place, member in enumerate(members):
            own, states[place] = member.step(last, states[place])
            mean += own.softmax(dim=-1) / 3
        torch.testing.assert_close(logits.exp(), mean)


@every_decoder
def test_an_ensemble_of_equals_is_one_of_them(decoder: Decoder) -> None:
    one, three = (decode(decoder, model) for model in (Recurrent(1), Ensemble([Recurrent(1)] * 3)))
    assert torch.equal(one.tokens, three.tokens)
    torch.testing.assert_close(one.log_probs, three.log_probs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("members", "said"), [([], "not no members"), ([Markov(0), Recurrent(0)], r"not \[5, 9\]")], ids=["none", "differ"]
)
def test_ensembles_need_members_of_one_size(members: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Ensemble(members)
