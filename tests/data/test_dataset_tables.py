"""Images that a CSV file lists, and images in Parquet files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoo.data import Dataset, Options, has_validation, load
from zoo.errors import DataError
from zoo.registry import Registry

SIDE = 4


def pixels(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def encoded(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed)).save(file, "PNG")
    return file.getvalue()


def refusal(name: str, registry: Registry, options: Options | None = None) -> str:
    with pytest.raises(DataError) as error:
        load(name, registry, options or Options())
    return str(error.value)


ROWS = [f"pictures/{i}.png,{('cat', 'ant')[i % 2]},{('train', 'test', 'val')[i // 4]},p{i // 2}" for i in range(12)]


def table(folder: Path, rows: list[str] = ROWS, header: str = "file,label,part,patient") -> str:
    (folder / "pictures").mkdir(exist_ok=True)
    for index in range(12):
        (folder / "pictures" / f"{index}.png").write_bytes(encoded(index))
    (folder / "images.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return f"csv:{folder}/images.csv"


def test_a_table_of_files_is_read_in_its_order(tmp_path: Path, registry: Registry) -> None:
    name = table(tmp_path)
    data = load(name, registry)
    assert (data.classes, data.names["test"][0]) == (("ant", "cat"), "pictures/4.png")
    assert data.notes == ("columns not used: patient", "its own validation part is used: 4 images")
    assert has_validation(name, registry)
    for start, part in zip((0, 4, 8), (data.train, data.test, data.validation), strict=True):
        assert part is not None
        assert part.labels.tolist() == [1, 0, 1, 0]
        for index, image in enumerate(part.images, start):
            np.testing.assert_array_equal(image.permute(1, 2, 0), pixels(index))


def test_weights_of_a_table_stay_with_their_images_and_are_part_of_the_digest(
    tmp_path: Path, registry: Registry
) -> None:
    def weighted(factor: int) -> Dataset:
        rows = [f"pictures/{i}.png,{('cat', 'ant')[i % 2]},{i * factor}" for i in range(12)]
        return load(table(tmp_path, rows, "file,label,weight"), registry, Options(test=0.5, limit=4))

    for factor in (1, 2):
        data = weighted(factor)
        assert data.notes[0] == (
            f"weights of images: from 0 to {11 * factor}; training.sampling = weighted draws images by them"
        )
        for part, split in data.parts.items():
            files = [int(file.removeprefix("pictures/").removesuffix(".png")) for file in data.names[part]]
            assert split.weights is not None
            assert split.weights.tolist() == [float(file * factor) for file in files]
    assert weighted(1).digest == weighted(1).digest != data.digest


def test_weights_of_parquet_files_are_those_of_their_rows(tmp_path: Path, registry: Registry) -> None:
    hub(tmp_path / "train-0.parquet", range(4), weight=[0.5, 1, 2, 0])
    hub(tmp_path / "train-1.parquet", range(4, 6), weight=[3, 4])
    hub(tmp_path / "test-0.parquet", range(6, 8), weight=[1, 1])
    data = load(f"parquet:{tmp_path}", registry)
    assert data.train.weights is not None
    assert data.train.weights.tolist() == [0.5, 1, 2, 0, 3, 4]
    assert data.notes == ("weights of images: from 0 to 4; training.sampling = weighted draws images by them",)
    hub(tmp_path / "test-0.parquet", range(6, 8), weight=[1, None])
    assert refusal(f"parquet:{tmp_path}", registry) == (
        "test-0.parquet row 1: its weight is None, and not a number from 0 on"
    )


@pytest.mark.parametrize("column", ["label", "weight"])
def test_a_parquet_file_that_lacks_a_column_is_named(column: str, tmp_path: Path, registry: Registry) -> None:
    hub(tmp_path / "train-0.parquet", range(4), weight=[1, 1, 1, 1])
    hub(tmp_path / "train-1.parquet", range(4, 6), **{"weight": [1, 1], column: None})
    assert refusal(f"parquet:{tmp_path}", registry) == (
        f"{tmp_path}/train-1.parquet: it has no column {column!r}, which {tmp_path}/train-0.parquet has"
    )


def test_a_table_without_parts_is_split_by_a_column(tmp_path: Path, registry: Registry) -> None:
    rows = [f"pictures/{i}.png,{10 if i % 2 else 9},p{i // 2}" for i in range(12)]
    name = table(tmp_path, rows, "file,label,patient")
    data = load(name, registry, Options(test=0.5, group_by="patient"))
    assert data.classes == ("9", "10")
    test = {int(file.removeprefix("pictures/").removesuffix(".png")) // 2 for file in data.names["test"]}
    train = {int(file.removeprefix("pictures/").removesuffix(".png")) // 2 for file in data.names["train"]}
    assert (len(test), len(train), test & train) == (3, 3, set())
    assert "6 of 12 training images became the test part: 3 of 6 groups, each whole (asked for: 50%)" in data.notes
    assert refusal(name, registry, Options(test=0.5, group_by="person")) == (
        f"{tmp_path}/images.csv: data.group_by names no column: 'person'; it has file, label, patient"
    )


def test_a_group_in_two_parts_of_a_table_is_said(tmp_path: Path, registry: Registry) -> None:
    rows = [row.rpartition(",")[0] + ",p0" for row in ROWS]
    notes = load(table(tmp_path, rows), registry, Options(group_by="patient")).notes
    assert "leak: 1 group stands in train and in test, such as p0" in notes


@pytest.mark.parametrize(
    ("rows", "header", "text"),
    [
        (ROWS, "path,label,part,patient", "{csv}: it has no column 'file'; it has path, label, part, patient"),
        ([], "file,label", "{csv}: it has no row"),
        ([], "", "{csv}: it has no column 'file'; it is empty"),
        (["pictures/0.png"], "file,label", "{csv} line 2: it does not have 2 values as the first line has"),
        (["pictures/0.png,a,b"], "file,label", "{csv} line 2: it does not have 2 values as the first line has"),
        (["pictures/0.png,"], "file,label", "{csv} line 2: its label is empty"),
        *[
            (
                [f"pictures/0.png,a,{weight}"],
                "file,label,weight",
                f"{{csv}} line 2: its weight is {weight!r}, and not a number from 0 on",
            )
            for weight in ("much", "-1", "nan", "inf", "")
        ],
        (
            ["pictures/0.png,a,best"],
            "file,label,part",
            "{csv} line 2: 'best' is no part; it must be train, test or val",
        ),
        (["no.png,a"], "file,label", "{folder}/no.png: there is no such file"),
        (['pictures/0.png,"a'], "file,label", "{csv} cannot be read as a table in UTF-8: unexpected end of data"),
    ],
)
def test_unusable_tables_are_refused(
    rows: list[str], header: str, text: str, tmp_path: Path, registry: Registry
) -> None:
    expected = text.format(csv=tmp_path / "images.csv", folder=tmp_path)
    assert refusal(table(tmp_path, rows, header), registry).startswith(expected)


def hub(file: Path, seeds: range, *, names: tuple[str, ...] | None = ("no", "yes"), **changes: Any) -> None:
    """Write a file as Hugging Face's library does: structures with bytes and path, numbers, and what they mean."""
    columns = {
        "image": [{"bytes": encoded(seed), "path": f"{seed}.png"} for seed in seeds],
        "label": [seed % 2 for seed in seeds],
        **changes,
    }
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=3)


def test_files_as_the_hub_has_them_are_read(tmp_path: Path, registry: Registry) -> None:
    hub(tmp_path / "data/train-00001-of-00002.parquet", range(4, 8))
    hub(tmp_path / "data/train-00000-of-00002.parquet", range(4))
    hub(tmp_path / "data/validation-00000-of-00001.parquet", range(8, 10))
    hub(tmp_path / "data/test-00000-of-00001.parquet", range(10, 12))
    data = load(f"parquet:{tmp_path}", registry)
    assert data.classes == ("no", "yes")
    assert data.notes == ("its own validation part is used: 2 images",)
    assert has_validation(f"parquet:{tmp_path}", registry)
    for index, image in enumerate(data.train.images):
        np.testing.assert_array_equal(image.permute(1, 2, 0), pixels(index))
    assert (len(data.train), len(data.test), data.names["test"][1]) == (
        8,
        2,
        "data/test-00000-of-00001.parquet row 1",
    )


def test_the_part_may_be_the_folder_and_images_plain_bytes(tmp_path: Path, registry: Registry) -> None:
    for part, seeds in (("train", range(4)), ("test", range(4, 6))):
        labels = [("cat", "ant")[seed % 2] for seed in seeds]
        content = [encoded(seed) for seed in seeds]
        hub(tmp_path / part / "0000.parquet", seeds, names=None, image=None, picture=content, label=labels)
    data = load(f"parquet:{tmp_path}", registry)
    assert (data.classes, len(data.train), data.test.labels.tolist()) == (("ant", "cat"), 4, [1, 0])


def test_one_file_is_split_by_a_column_and_damaged_images_are_left_out(tmp_path: Path, registry: Registry) -> None:
    images = [encoded(seed) for seed in range(13)]
    images[5] = images[5][:-30]
    groups = [seed // 2 for seed in range(13)]
    hub(tmp_path / "all.parquet", range(13), image=images, scene=groups)
    name = f"parquet:{tmp_path}/all.parquet"
    assert refusal(name, registry).startswith(f"{tmp_path}/all.parquet row 5 cannot be read as an image: ")
    data = load(name, registry, Options(test=0.5, group_by="scene", skip_damaged=True))
    assert len(data.train) + len(data.test) == 12
    rows = {part: {int(name.rpartition(" ")[2]) // 2 for name in names} for part, names in data.names.items()}
    assert rows["train"] & rows["test"] == set()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"image": None}, "it needs one column of images, with their files' bytes, or one called image; it has label"),
        ({"label": None, "names": None}, "it needs a column called label; it has image (struct<"),
        ({"label": [0, 1, 0, 2]}, " row 3: its label is 2, and not one of 2 classes"),
        ({"label": [0.5, 1.0, 0.5, 1.0], "names": None}, " row 0: its label is 0.5, and not a number or a name"),
        ({"image": [b"x", b"x", b"x", None]}, " row 3: its image holds no bytes of an image"),
        ({"image": [b"x", b"x", b"x", b"x"]}, " row 0 cannot be read as an image: cannot identify image file"),
    ],
)
def test_unusable_parquet_is_refused(changes: dict[str, Any], text: str, tmp_path: Path, registry: Registry) -> None:
    hub(tmp_path / "a.parquet", range(4), **changes)
    assert text in refusal(f"parquet:{tmp_path}/a.parquet", registry)


def test_what_is_no_parquet_is_refused(tmp_path: Path, registry: Registry) -> None:
    file = tmp_path / "a.parquet"
    assert refusal(f"parquet:{file}", registry).endswith(f"is not at hand: there is no file or folder {file}")
    assert refusal(f"parquet:{tmp_path}", registry).endswith(f"there is no file *.parquet in {tmp_path}")
    file.write_bytes(b"PAR1")
    assert refusal(f"parquet:{file}", registry).startswith(f"{file} cannot be read as Parquet: ")


def test_one_class_in_two_spellings_of_unicode_is_one(tmp_path: Path, registry: Registry) -> None:
    rows = [row.replace("cat", "cafe\u0301" if index < 4 else "caf\u00e9") for index, row in enumerate(ROWS)]
    data = load(table(tmp_path, rows), registry)
    assert data.classes == ("ant", "caf\u00e9")
    assert "the class 'caf\u00e9' is spelled in several ways of Unicode, taken for one" in data.notes
