"""Models of timm and open_clip as featurizers."""

from dataclasses import replace
from importlib.util import find_spec

import open_clip
import pytest
import timm
import torch
from timm.layers import DropPath
from torch import nn

import models
from models import entry, family
from tests.models.tiny_models import PUBLISHED, SHAPE, whole_clip


def test_timms_features_are_what_its_classifier_is_given() -> None:
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", img_size=32).eval()
    network = models.build("timm/test_vit", 5, SHAPE).eval()
    network.featurizer[0].load_state_dict(whole.state_dict(), strict=False)
    x = torch.rand(2, *SHAPE)

    with torch.no_grad():
        features = whole.forward_head(whole.forward_features(x), pre_logits=True)
        assert torch.equal(network.featurizer(x), features)


def test_the_tower_of_clip_gives_its_embeddings_of_images() -> None:
    whole = whole_clip(force_patch_dropout=0.0)
    network = models.build("open_clip/tiny", 5, SHAPE).eval()
    network.featurizer[0].load_state_dict(whole.visual.state_dict())
    x = torch.rand(2, *SHAPE)

    with torch.no_grad():
        assert torch.equal(network.featurizer(x), whole.encode_image(x))


def test_dropout_and_stochastic_depth_of_pretraining_are_taken_out() -> None:
    network = nn.Sequential(nn.Dropout(0.2), DropPath(0.3), timm.layers.ClassifierHead(4, 4))
    network[2].drop_rate = 0.4

    family.without_chance(network)

    assert (network[0].p, network[1].drop_prob, network[2].drop_rate) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "weights", "mean"),
    [
        ("resnet18", None, 0.485),
        ("timm/resnet50", None, 0.485),
        ("timm/test_vit", None, 0.5),
        ("timm/vit_base_patch16_clip_224", None, 0.48145466),
        ("timm/convnext_tiny", "in12k", 0.485),
        ("open_clip/ViT-B-16", "openai", 0.48145466),
        ("open_clip/ViT-B-16-SigLIP", "webli", 0.5),
        ("open_clip/ViT-B-16-SigLIP", None, 0.5),
        ("open_clip/MobileCLIP-S1", "datacompdr", 0.0),
        ("open_clip/tiny", None, 0.48145466),
    ],
)
def test_the_colours_are_those_that_the_weights_expect(
    name: str, weights: str | None, mean: float
) -> None:
    assert models.colours(name, weights).mean[0] == mean


def test_a_network_says_its_colours() -> None:
    assert models.build("timm/test_vit", 2, SHAPE).colours.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["timm/test_vit", "open_clip/tiny", "open_clip/tiny_timm"])
@pytest.mark.parametrize("side", [48, 64])
def test_a_transformer_takes_images_of_any_whole_number_of_patches(name: str, side: int) -> None:
    assert models.build(name, 3, (3, side, side))(torch.rand(2, 3, side, side)).shape == (2, 3)


def test_what_gives_no_vector_of_features_is_refused() -> None:
    maps = replace(models.FAMILIES["timm"], featurizer=lambda *_: (nn.Conv2d(3, 4, 3), None))
    with pytest.raises(ValueError, match="'timm/x' does not give one vector of features"):
        family.width("timm/x", maps, SHAPE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet05", r"timm has no model 'resnet05'; did you mean 'timm/resnet50'\?"),
        ("timm/resnet50.a1_in1k", "write name: timm/resnet50 and weights: a1_in1k"),
        ("open_clip/ViT-B16", r"did you mean 'open_clip/ViT-B-16'\?.*search models open_clip"),
        ("tim/resnet50", r"unknown model: 'tim/resnet50'; did you mean 'timm/resnet50'\?"),
        ("peft/resnet50", r"there are: cnn, mlp, .*, timm/NAME, open_clip/NAME"),
        ("timm", r"unknown model: 'timm'; there are: cnn"),
        ("cnm", r"unknown model: 'cnm'; did you mean 'cnn'\?"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.check(name)


@pytest.mark.parametrize(("name", "extra"), [("timm/resnet50", "timm"), ("open_clip/RN50", "clip")])
def test_without_its_library_a_model_says_how_to_install_it(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = name.partition("/")[0]
    monkeypatch.setattr(
        entry, "find_spec", lambda asked: None if asked == package else find_spec(asked)
    )

    with pytest.raises(ModuleNotFoundError) as refusal:
        models.build(name, 2, SHAPE)

    assert str(refusal.value) == (
        f"model {name!r} needs {package}, which is not installed: pip install '.[{extra}]'"
    )


def test_weights_are_the_librarys_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", PUBLISHED)

    assert models.published("open_clip/tiny") == ("openai", "webli")
    assert "a1_in1k" in models.published("timm/resnet50")
    assert models.published("timm/test_vit") == ("r160_in1k",)
    models.weights_file("timm/resnet50", "a1_in1k")
    with pytest.raises(ValueError, match=r"no weights 'a1_in'; did you mean 'a1_in1k'\?"):
        models.weights_file("timm/resnet50", "a1_in")
    with pytest.raises(ValueError, match=r"no weights 'opnai'; did you mean 'openai'\?"):
        models.weights_file("open_clip/tiny", "opnai")
    assert "Weights: openai, webli." in models.describe("open_clip/tiny")


def test_names_of_a_family_are_names_of_models() -> None:
    assert "timm/resnet50" in models.names("timm")
    assert "open_clip/ViT-B-16" in models.names("open_clip")
