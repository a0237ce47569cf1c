"""Bundles that carry a network of their own: the same to the last bit, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lia_live.avatar import Avatar, describe, label, read_label, read_network
from lia_live.avatar.look import looks_of
from lia_live.errors import AvatarError, LiaLiveError, WeightsError
from lia_live.model import LIA, Direction
from lia_live.model.weights_file import rounded
from tests.avatar.pictures import tiny
from tests.track.faces import hopper, room


def personal(seed: int = 7, size: int = 64, kind: str = "face") -> LIA:
    """Somebody's own network: random, float32 numbers that float16 does not hold exactly."""
    model = tiny(seed, kind, size)
    model.name, model.licence = "Grace's own", "hers"
    model.directions = tuple(
        Direction(f"way {index}", low=-index - 1.0, scale=0.5) for index in range(20)
    )
    return model


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    made = Avatar.from_image(hopper(), personal(), name="Grace", carry=True)
    return made.with_consent("me")


@pytest.fixture
def bundle(avatar: Avatar, tmp_path: Path) -> Path:
    path = tmp_path / "grace.avatar"
    avatar.save(path)
    return path


def same_network(one: LIA, other: LIA) -> bool:
    mine, its = one.state_dict(), other.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine)


# What is carried


def test_an_avatar_takes_the_rounded_network_with_it(avatar: Avatar) -> None:
    model = personal()
    carried = avatar.network
    assert carried is not None and carried is not model
    assert avatar.fingerprint == carried.fingerprint != model.fingerprint
    for key, value in carried.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.state_dict()[key].half().float())
    look, _ = looks_of(carried, avatar.crop, avatar.face_landmarks)
    torch.testing.assert_close(avatar.look.latent, look.latent, rtol=0, atol=1e-5)
    assert (carried.name, carried.licence) == ("Grace's own", "hers")
    assert not carried.training


def test_without_being_asked_it_takes_nothing() -> None:
    model = personal()
    avatar = Avatar.from_image(hopper(), model)
    assert avatar.network is None
    assert avatar.fingerprint == model.fingerprint


def test_what_is_saved_shows_the_same_pictures(avatar: Avatar, bundle: Path) -> None:
    again = Avatar.load(bundle, tiny(seed=1))  # another model altogether
    assert again.network is not None and avatar.network is not None
    assert again.fingerprint == avatar.fingerprint == again.network.fingerprint
    assert same_network(again.network, avatar.network)
    assert again.network.directions == personal().directions
    assert (again.network.name, again.network.licence) == ("Grace's own", "hers")
    alpha = torch.linspace(-2, 2, 20)[None]
    with torch.no_grad():
        expected = rounded(personal()).render(avatar.look, alpha)
        found = again.network.render(again.look, alpha)
    # The numbers are equal to the last bit (above); sums may still differ with where memory lies.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert again.consent == "me"
    assert Avatar.load(bundle).name == "Grace"  # no model at all


def test_saved_again_it_holds_the_same(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.avatar"
    Avatar.load(bundle).save(again)
    assert labels(again) == labels(bundle)
    before, after = load_file(bundle), load_file(again)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(after[key], value)
        assert key.startswith("network.") == (value.dtype == torch.float16)


@pytest.mark.parametrize(("size", "kind"), [(128, "face"), (32, "face"), (64, "full")])
def test_networks_of_any_size_and_framing(tmp_path: Path, size: int, kind: str) -> None:
    model = personal(size=size, kind=kind)
    picture = hopper() if kind == "face" else room(200, 200)
    path = tmp_path / "other.avatar"
    Avatar.from_image(picture, model, carry=True).save(path)
    again = Avatar.load(path, tiny())
    assert again.network is not None
    assert again.network.config == model.config
    assert again.crop.shape == (size, size, 3)
    assert (again.face_landmarks is None) == (kind == "full")


def test_the_network_alone(avatar: Avatar, bundle: Path, tmp_path: Path) -> None:
    found = read_network(bundle)
    assert found is not None and avatar.network is not None
    assert same_network(found, avatar.network)
    Avatar.from_image(hopper(), tiny()).save(tmp_path / "plain.avatar")
    assert read_network(tmp_path / "plain.avatar") is None


def test_what_it_says_about_itself(avatar: Avatar, bundle: Path) -> None:
    found = read_label(bundle)
    assert found.version == 2
    assert found.network is not None and found.network.config == personal().config
    about = describe(bundle)
    assert about["version"] == 2
    carried = about["network"]
    assert set(carried) == {
        "name", "licence", "size", "width", "parameters", "dtype", "directions",
    }  # fmt: skip
    assert (carried["name"], carried["licence"], carried["size"]) == ("Grace's own", "hers", 64)
    assert carried["parameters"] == sum(p.numel() for p in personal().parameters())
    assert carried["directions"][3] == "way 3"
    json.dumps(about)


# Bundles without one


def test_a_plain_bundle_is_written_as_before(tmp_path: Path) -> None:
    """Version 1, with the labels and parts it always had: older programs go on reading it."""
    path = tmp_path / "plain.avatar"
    Avatar.from_image(hopper(), tiny(), name="Grace").save(path)
    metadata = labels(path)
    assert metadata["version"] == "1"
    assert set(metadata) == {
        "format", "version", "name", "model", "fingerprint", "config", "consent", "created_by",
    }  # fmt: skip
    assert not any(key.startswith("network.") for key in load_file(path))
    assert describe(path)["network"] is None
    assert Avatar.load(path, tiny()).network is None
    with pytest.raises(AvatarError, match="carries no network"):
        Avatar.load(path)


def test_an_older_program_refuses_it_by_its_version(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the program before this format did: it compared the number with its own and named both."""
    assert labels(bundle)["version"] == "2"
    other_labels(version="5")(bundle)
    with pytest.raises(AvatarError, match="bundle version 5, this program reads 1 to 4") as caught:
        Avatar.load(bundle)
    assert caught.value.hint == "update lia-live"


# Damage


def labels(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header["__metadata__"]
    return metadata


def other_parts(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        metadata, tensors = labels(path), load_file(path)
        change(tensors)
        save_file(tensors, path, metadata)

    return apply


def other_labels(**changes: str | None) -> Callable[[Path], None]:
    """``__`` in a name stands for the dot."""

    def apply(path: Path) -> None:
        metadata = labels(path)
        for name, value in changes.items():
            key = name.replace("__", ".")
            metadata.pop(key, None)
            if value is not None:
                metadata[key] = value
        save_file(load_file(path), path, metadata)

    return apply


def other_config(**changes: object) -> Callable[[Path], None]:
    """In both places, as somebody would who means it."""

    def apply(path: Path) -> None:
        config = {**json.loads(labels(path)["config"]), **changes}
        text = json.dumps(config, sort_keys=True)
        other_labels(config=text, network__config=text)(path)

    return apply


PART = "network.dec.direction.weight"


def first_number(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda parts: parts[PART].view(-1)[:1].fill_(value)


def nudged(parts: dict[str, torch.Tensor]) -> None:
    parts[PART][0, 0] += 0.5


def other_filter(parts: dict[str, torch.Tensor]) -> None:
    key = next(key for key in parts if key.endswith(".kernel"))
    parts[key] = parts[key] + 0.25


SPOILED = {
    "missing part": (other_parts(lambda t: t.pop(PART)), "1 keys are missing"),
    "extra part": (other_parts(lambda t: t.update({"network.evil": torch.zeros(3)})), "evil"),
    "extra part beside": (other_parts(lambda t: t.update(evil=torch.zeros(3))), "evil"),
    "wrong shape": (other_parts(lambda t: t.update({PART: torch.zeros(32, 19).half()})), "shapes"),
    "float32": (other_parts(lambda t: t.update({PART: t[PART].float()})), "not F16"),
    "bfloat16": (other_parts(lambda t: t.update({PART: t[PART].bfloat16()})), "not F16"),
    "not finite": (other_parts(first_number(float("nan"))), "NaN"),
    "infinite": (other_parts(first_number(float("inf"))), "infinity"),
    "another network": (other_parts(nudged), "not the one"),
    "another filter": (other_parts(other_filter), "FIR"),
    "no network left": (
        other_parts(lambda t: [t.pop(key) for key in list(t) if key.startswith("network.")]),
        "keys are missing",
    ),
    "too large": (other_parts(lambda t: t.update(evil=torch.zeros(2**21))), "more than"),
    "no look": (other_parts(lambda t: t.pop("look.motion")), "look.motion"),
    "version 1 with a network": (other_labels(version="1"), "labels"),
    "fingerprint of another": (other_labels(fingerprint="0" * 16), "not the one"),
    "no header": (
        lambda path: other_labels(
            **{key.replace(".", "__"): None for key in labels(path) if key.startswith("network.")}
        )(path),
        "no network",
    ),
    "half a header": (other_labels(network__directions=None), "labels"),
    "more header": (other_labels(network__notes="x"), "labels"),
    "another header": (other_labels(network__format="lia-live/9"), "lia-live/9"),
    "header of float32": (other_labels(network__dtype="float32"), "float16"),
    "config of another": (
        other_labels(network__config=json.dumps(asdict(tiny(size=128).config), sort_keys=True)),
        "another size",
    ),
    "smaller than its parts": (other_config(size=32), "more than|parts|shape"),
    "larger than its parts": (other_config(size=1024, width=2), "parts|shape"),
    "impossible size": (other_config(size=10**400), "size"),
    "impossible width": (other_config(width=10**400), "width"),
    "directions that are none": (other_labels(network__directions="[]"), "0 directions"),
    "directions without end": (
        other_labels(network__directions='[{"name":"a","low":1' + "0" * 400 + "}]"),
        "directions",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled(bundle: Path, kind: str) -> None:
    spoil, words = SPOILED[kind]
    spoil(bundle)
    with pytest.raises(AvatarError, match=words) as caught:
        Avatar.load(bundle, tiny())
    error = caught.value
    assert error.exit_code == 3
    assert str(bundle) in error.message
    assert error.hint
    assert "\n" not in error.message + error.hint
    assert len(error.message) < 400


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.9, 0.9999])
def test_cut_short(bundle: Path, kept: float) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content[: int(kept * len(content))])
    for read in (Avatar.load, read_network, describe):
        with pytest.raises(AvatarError):
            read(bundle)


def test_every_flipped_byte_is_refused_or_harmless(bundle: Path, avatar: Avatar) -> None:
    """Of the network every one is noticed: its fingerprint is compared. Elsewhere nothing breaks."""
    content = bundle.read_bytes()
    length = int.from_bytes(content[:8], "little")
    positions = np.random.default_rng(1).integers(0, len(content), 60)
    heads = np.random.default_rng(2).integers(0, 8 + length, 60)
    for position in [*positions, *heads]:
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        bundle.write_bytes(damaged)
        try:
            again = Avatar.load(bundle)
        except LiaLiveError as error:
            assert "\n" not in error.message
        else:
            assert again.network is not None and avatar.network is not None
            assert same_network(again.network, avatar.network)


def test_numbers_that_float16_cannot_hold() -> None:
    torch.manual_seed(3)
    model = LIA(tiny().config).eval()
    with torch.no_grad():
        model.dec.direction.weight[0, 0] = 1e6
    with pytest.raises(WeightsError, match="float16"):
        Avatar.from_image(hopper(), model, carry=True)


def test_a_name_cannot_play_tricks_with_a_terminal(bundle: Path) -> None:
    other_labels(network__name="\x1b[2J\nme", network__licence="\x1b[2J")(bundle)
    carried = describe(bundle)["network"]
    assert carried["name"] == "[2J me"
    assert carried["licence"] == "[2J"


def test_labels_and_header_agree_on_their_keys() -> None:
    """The bundle's list of header keys is the weights file's."""
    from lia_live.avatar.bundle import header_of

    assert set(header_of(tiny()).to_metadata()) == set(label._NETWORK_LABELS)
