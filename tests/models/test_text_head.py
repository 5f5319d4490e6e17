"""The text head: its features, its cache, its precision, and files it can be made of."""

from __future__ import annotations

import open_clip
import pytest
import torch
from safetensors.torch import save_file

import models
from models import clip_towers, text_head
from models.entry import Texts
from models.text_head import TextFeatures, TextHead
from tests.models import tiny_clip

TEXTS = Texts(("big_dog", "cat", "owl"), ("a photo of a {}.", "art of the {}"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_clip.write(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_logits_are_those_of_clip(weights):
    whole, tokenizer = tiny_clip.whole(), open_clip.get_tokenizer("tiny_text")
    one = Texts(TEXTS.classes)
    assert one.sentences[0] == "a photo of a big dog."
    network = models.build(tiny_clip.NAME, one, (3, 32, 32), weights=str(weights)).eval()
    x = torch.rand(4, 3, 32, 32)

    with torch.no_grad():
        logits, _ = whole.get_logits(x, tokenizer(one.sentences))
        torch.testing.assert_close(network(x), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module.", "text."])
def test_a_text_tower_is_found_where_files_have_it(prefix, weights, tmp_path):
    """CLIP's own files, those of DataParallel, and of models that keep their text tower apart."""
    state = tiny_clip.whole().state_dict()
    apart = ("visual.", "logit_")
    own = {
        (key if prefix == "text." and key.startswith(apart) else prefix + key): value.clone()
        for key, value in state.items()
    }
    save_file(own, tmp_path / "other.safetensors")

    found = models.text_features(tiny_clip.NAME, str(tmp_path / "other.safetensors"), TEXTS)

    known = models.text_features(tiny_clip.NAME, str(weights), TEXTS)
    assert torch.equal(found.features, known.features)
    assert found.scale == known.scale
    file = str(tmp_path / "other.safetensors")
    taken = models.build(tiny_clip.NAME, 3, (3, 32, 32), weights=file).taken
    assert taken is not None
    assert "without" not in str(taken)


def test_texts_are_embedded_once(weights, cache, monkeypatch):
    first = models.text_features(tiny_clip.NAME, str(weights), TEXTS)
    assert len(list((cache / "texts").iterdir())) == 1

    def asked_again(_: str) -> None:
        raise OSError("no tokenizer here")

    monkeypatch.setattr(open_clip, "get_tokenizer", asked_again)
    again = models.text_features(tiny_clip.NAME, str(weights), TEXTS)
    assert torch.equal(first.features, again.features)
    assert first.scale == again.scale

    (file,) = (cache / "texts").iterdir()
    whole = file.read_bytes()
    for damaged in (b"cut short", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 64])):
        file.write_bytes(damaged)
        with pytest.raises(FileNotFoundError, match="tokenizer"):  # made again, not read
            models.text_features(tiny_clip.NAME, str(weights), TEXTS)


def test_a_tokenizer_whose_library_is_missing_is_named(weights, monkeypatch):
    def missing(_: str) -> None:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(open_clip, "get_tokenizer", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        models.text_features(tiny_clip.NAME, str(weights), TEXTS)


def test_a_text_tower_of_another_library_is_refused(weights, monkeypatch):
    config = open_clip.get_model_config("tiny_text")
    config["text_cfg"]["hf_model_name"] = "roberta-base"
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: config)
    with pytest.raises(ValueError, match="transformers"):
        clip_towers.embed("tiny_text", str(weights), ["a"])


def test_the_head_is_exact_in_float32_under_autocast():
    texts = TextFeatures(torch.eye(3, 8), 100.0)
    head = torch.nn.Sequential(text_head.Normalised(), TextHead(8, 3, texts))
    x = torch.rand(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = head(x)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, head(x))
