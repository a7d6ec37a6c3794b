"""Recipes: every shipped one is whole, and what is wrong with one is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hptl_deploy.errors import RecipeError
from hptl_train.building import crop_side
from hptl_train.recipe import (
    Recipe,
    Wishes,
    load_chain,
    load_recipe,
    parse_any,
    recipe_names,
    recipes_folder,
)


def test_the_shipped_recipes_are_found() -> None:
    assert "hptl" in recipe_names()


@pytest.mark.parametrize("path", sorted(recipes_folder().rglob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_is_whole(path: Path) -> None:
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert f"hptl-deploy train DATA --recipe {recipe.name}" in path.read_text(encoding="utf-8")
    assert parse_any(recipe.model_dump(mode="json", exclude_none=True), "copy") == recipe
    if isinstance(recipe, Recipe):
        assert crop_side(recipe) > 0


def test_hptl_holds_the_papers_numbers() -> None:
    recipe = load_chain("hptl")
    assert recipe.vgg.channels == (64, 128, 256, 512, 512)
    assert recipe.vgg.fc == 4096
    assert recipe.crops.size == 224
    assert recipe.augmentation.variants == 30
    chain = [
        (step.network, step.start, step.transfer, step.iterations, step.batch, step.l2)
        for step in recipe.steps
    ]
    assert chain == [
        ("vgg19", "random", None, 120_000, 16, 0.0),
        ("fcn32s", "vgg19", "omega_t1", 12_000, 16, 0.0),
        ("fcn16s", "fcn32s", "omega_t2", 12_000, 16, 0.0),
        ("fcn8s", "fcn16s", "omega_t3", 12_000, 16, 0.0),
    ]
    first, *others = (step.optimiser for step in recipe.steps)
    assert (first.name, first.learning_rate, first.momentum) == ("sgd", 0.001, 0.9)
    for optimiser in others:
        assert (optimiser.name, optimiser.learning_rate) == ("adam", 1e-4)
        assert optimiser.betas == (0.9, 0.999)


def test_overrides_hold_for_every_step() -> None:
    recipe = Wishes(width=0.25, iterations=7, seed=3, input_scale=2).chain(load_chain("hptl"))
    assert recipe.vgg.channels == (16, 32, 64, 128, 128)
    assert recipe.vgg.fc == 1024
    assert {step.iterations for step in recipe.steps} == {7}
    assert recipe.seed == 3
    assert crop_side(recipe) == 112


@pytest.mark.parametrize(("scale", "side"), [(1, 224), (2, 112), (3, 64), (4, 56)])
def test_crops_keep_their_size_in_the_network(scale: int, side: int) -> None:
    assert crop_side(Wishes(input_scale=scale).chain(load_chain("hptl"))) == side


def test_without_a_source_step_2_starts_from_random() -> None:
    recipe = Wishes(source_data="none").chain(load_chain("hptl"))
    assert [step.network for step in recipe.steps] == ["fcn32s", "fcn16s", "fcn8s"]
    assert (recipe.steps[0].start, recipe.steps[0].transfer) == ("random", None)
    assert recipe.steps[1].start == "fcn32s"


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    text = (recipes_folder() / "hptl.toml").read_text(encoding="utf-8")
    text = text.replace("momentum = 0.9\n", "").replace("fc = 4096", "fc = 0")
    text = text.replace('name = "hptl"', 'name = "hptl"\ncolour = "blue"')
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert str(raised.value).splitlines() == [
        f"recipe {path}: cannot be used",
        "  - network.fc: Input should be greater than or equal to 1",
        "  - steps.0.optimiser: momentum belongs to sgd, and only to it",
        "  - colour: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('start = "fcn16s"', 'start = "fcn64s"', "starts from fcn64s, which is no earlier step"),
        ('"omega_t3"', '"omega_t9"', "transfer must be omega_t1, omega_t2, omega_t3"),
        ('transfer = "omega_t2"', 'transfer = "omega_t3"', "cannot go from fcn32s to fcn16s"),
        ('source = "photographs"\n', "", "a source belongs to vgg19, and vgg19 needs one"),
    ],
)
def test_a_chain_that_does_not_hold_is_refused(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    text = (recipes_folder() / "hptl.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=sentence):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (
            "deeplabv3plus",
            "size = 448",
            "size = 224",
            "crops of 224 px teach nothing to the outer taps of rate 18; expected 304 px at least",
        ),
        (
            "deeplabv3plus",
            "batch = 4",
            "batch = 1",
            "step deeplabv3plus: DeepLab V3+ normalises over a batch, which must hold 2 pictures",
        ),
        (
            "deeplabv3plus",
            "blocks = [3, 4, 6, 3]",
            "blocks = [3, 4, 6, 2]",
            "multi_grid has 3 unit",
        ),
        ("hptl", "[network]", "[deeplab]", "deeplab.channels: Extra inputs are not permitted"),
        ("working", "jpeg = 70", "jpeg = 97", "augmentation.jpeg"),
        ("working", 'keep = "best"', 'keep = "worst"', "validation.keep: Input should be 'last'"),
    ],
)
def test_what_a_network_cannot_learn_from_is_refused(
    tmp_path: Path, name: str, old: str, new: str, sentence: str
) -> None:
    text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert sentence in str(raised.value)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        RecipeError, match=r"recipe hptk: expected one of .*hptl.*, or a .toml file"
    ):
        load_recipe("hptk")
