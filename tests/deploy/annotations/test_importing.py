"""What all formats have in common, shown with labelme's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hptl_deploy.annotations import import_annotations, read_phases
from hptl_deploy.datasets import load_data_set
from hptl_deploy.errors import DataSetError, InputError
from support.annotated import box, labelme, painted, picture, polygon, write_json

PHASES = """\
[[phases]]
name = "Matrix"
colour = [0, 0, 0]
[[phases]]
name = "α-Al \\"primary\\""
key = "alpha"
colour = [9, 9, 9]
"""


def problems(source: Path, out: Path) -> list[str]:
    with pytest.raises(DataSetError) as caught:
        import_annotations(source, out)
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    lines = str(caught.value).splitlines()
    count = f"{len(lines) - 1} problems" if len(lines) > 2 else "a problem"
    assert lines[0].endswith(f": {count}, nothing is written")
    return [line.removeprefix("  - ") for line in lines[1:]]


def test_a_round_trip(tmp_path: Path) -> None:
    source = labelme(
        tmp_path / "in", polygon("MG2SI", *box(3, 4, 13, 9)), polygon("Fe", *box(10, 5, 20, 30))
    )
    picture(source / "other.png")
    done = import_annotations(source, tmp_path / "out")
    data_set = load_data_set(tmp_path / "out", verify=True)
    (sample,) = data_set.samples
    assert sample.image.read_bytes() == (source / "a.png").read_bytes()
    _, labels = data_set.read(sample)
    assert np.array_equal(labels, painted((3, 4, 13, 9, 1), (10, 5, 20, 30, 2)))
    assert done.pixels == {"al": 2000 - 38 - 250, "mg2si": 38, "fe": 250, "ignore": 0}
    assert (done.format, done.pictures, done.shapes) == ("labelme", 1, 2)
    assert (done.contested, done.left_out) == (0, ["other.png"])


def test_phases_of_a_file_and_ignored_rest(tmp_path: Path) -> None:
    (tmp_path / "phases.toml").write_text(PHASES, encoding="utf-8")
    source = labelme(tmp_path / "in", polygon('α-al "primary"', *box(0, 0, 5, 5)),
                     polygon("matrix", *box(5, 0, 9, 5)))  # fmt: skip
    phases = read_phases(tmp_path / "phases.toml")
    import_annotations(source, tmp_path / "out", phases=phases, ignore_unannotated=True)
    data_set = load_data_set(tmp_path / "out", verify=True)
    assert data_set.phases == phases
    _, labels = data_set.read(data_set.samples[0])
    expected = np.full((40, 50), 255)
    expected[:5, :5], expected[:5, 5:9] = 1, 0
    assert np.array_equal(labels, expected)


def test_all_problems_are_one_report(tmp_path: Path) -> None:
    source = labelme(
        tmp_path / "in",
        polygon("bubble", *box(0, 0, 5, 5)),
        polygon("bubble", *box(0, 0, 5, 5)),
        polygon("fe", [1, 1], [2, 2], [1, 1]),
        polygon("fe", *box(100, 100, 120, 120)),
        {"label": "fe", "shape_type": "linestrip", "points": [[0, 0], [1, 1]]},
        polygon("fe", [0, 0], [1e300, 0], [0, 1]),
        {"label": 7},
    )
    labelme(source, name="b", imageWidth=60)
    labelme(source, name="c", imagePath="../c.png")
    labelme(source, name="d", imagePath="C:\\frames\\d.png")
    labelme(source, name="e", imagePath="gone.png")
    labelme(source, name="f", imagePath="a.png")
    (source / "g.json").write_text("[" * 200_000)
    assert problems(source, tmp_path / "out") == [
        "a.json, shape 3 (fe): an outline has 2 different points; expected 3 or more",
        "a.json, shape 5 (fe): is a 'linestrip', which has no area known here; expected polygon, "
        "rectangle, circle or mask",
        "a.json, shape 6 (fe): expected a coordinate within ±1e7, found 1e+300",
        "a.json, shape 7: expected a text as label, found 7",
        "c.json: names the image ../c.png, which is outside in; put it beside the annotations "
        "and name it without a path",
        "d.json: names the image C:\\frames\\d.png, which is outside in; put it beside the "
        "annotations and name it without a path",
        "e.json: its image gone.png is missing",
        "g.json: is not readable JSON (nested too deeply)",
        "a.png is annotated twice, in a.json and f.json",
        "a.json, shape 4 (fe): covers no pixel's centre inside a.png",
        "b.json: is for 60 x 40 px, but b.png has 50 x 40 px",
        "unknown label names bubble (2 shapes); expected aluminium matrix (al), Mg2Si (mg2si), "
        "Fe-containing phase (fe); name your own phases with --phases FILE",
    ]


def test_images_that_share_a_stem_or_cannot_be_read(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", polygon("fe", *box(0, 0, 5, 5)))
    labelme(source / "sub")
    labelme(source, name="z")
    (source / "z.png").write_bytes(b"no picture")
    found = problems(source, tmp_path / "out")
    assert found[0] == "a.png (a.json) and a.png (a.json) share a stem, which names the label"
    assert found[1].startswith("z.png: ")
    assert len(found) == 2


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret.png")
    source = labelme(tmp_path / "in", imagePath="link.png")
    (source / "link.png").symlink_to(secret)
    assert problems(source, tmp_path / "out") == [
        "a.json: names the image link.png, which is outside in; put it beside the annotations "
        "and name it without a path"
    ]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", polygon("fe", *box(0, 0, 5, 5)))
    (tmp_path / "out").mkdir()
    import_annotations(source, tmp_path / "out")  # an empty folder is no data set
    with pytest.raises(InputError) as caught:
        import_annotations(source, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: is there already, and nothing is written over. Choose another folder"
    )
    with pytest.raises(InputError, match="lies inside the annotations' folder"):
        import_annotations(source, source / "out")


def test_what_is_no_annotation(tmp_path: Path) -> None:
    write_json(tmp_path / "in" / "a.json", {"other": 1})
    with pytest.raises(DataSetError) as caught:
        import_annotations(tmp_path / "in", tmp_path / "out")
    assert str(caught.value) == (
        f"annotations {tmp_path / 'in'}: are of no format known here. Name it with --format: "
        "cvat, labelme, label-studio, qupath, imagej"
    )
    with pytest.raises(DataSetError, match="there is no such file or folder"):
        import_annotations(tmp_path / "gone", tmp_path / "out")


def test_phases_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("x = 1")
    with pytest.raises(DataSetError, match=r"p.toml: lists no \[\[phases\]\]. Add one per class$"):
        read_phases(path)
    path.write_text(PHASES.replace("[9, 9, 9]", "[0, 0, 0]"))
    with pytest.raises(DataSetError, match="colours must differ"):
        read_phases(path)
