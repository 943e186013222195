from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.data import Options, has_validation, load, resized, source
from zoo.errors import DataError
from zoo.registry import Registry

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.xz"
SIDE = 4
LAYOUT = "images are read from train/<class>/* and test/<class>/*, or from <class>/*"
TURNS = "sorted by file name, each class's images stand together, so that classes take turns instead"


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    random = np.random.default_rng(seed)
    if mode == "L":
        return Image.fromarray(random.integers(0, 256, size[::-1], np.uint8))
    return Image.fromarray(random.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes; the names alternate between them."""
    root = tmp_path / "images"
    for part, count in (("train", 6), ("test", 4)):
        for index in range(count):
            folder = root / part / ("cat", "ant")[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            picture(index + (100 if part == "test" else 0)).save(folder / f"{index}.png")
    return root


def refusal(root: Path, registry: Registry) -> str:
    with pytest.raises(DataError) as error:
        load(f"folder:{root}", registry)
    return str(error.value)


def test_images_are_in_file_name_order_across_classes(images: Path, registry: Registry) -> None:
    data = load(f"folder:{images}", registry)
    assert data.classes == ("ant", "cat")
    assert data.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.shape == (3, SIDE, SIDE)
    assert (data.sorted_by_class, data.notes, data.title) == (False, (), f"folder:{images}")
    for index, image in enumerate(data.train.images):
        np.testing.assert_array_equal(image.permute(1, 2, 0), np.asarray(picture(index)))


def test_where_names_begin_with_the_class_the_classes_take_turns(images: Path, registry: Registry) -> None:
    before = load(f"folder:{images}", registry)
    (images / "train/cat/4.png").unlink()
    for file in sorted(images.glob("*/*/*.png")):
        file.rename(file.with_name(f"{file.parent.name}-{file.name}"))
    data = load(f"folder:{images}", registry)
    assert not data.sorted_by_class
    assert data.notes == (TURNS,)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0]
    assert torch.equal(data.train.images[0], before.train.images[1]), "in each class by file name"
    assert torch.equal(data.train.images[1], before.train.images[0])
    assert data.test.labels.tolist() == [0, 1, 0, 1]


def test_numbers_that_begin_anew_in_each_class_are_in_turns_as_they_are(images: Path, registry: Registry) -> None:
    for part in ("train", "test"):
        for name in ("cat", "ant"):
            for index, file in enumerate(sorted((images / part / name).glob("*.png"))):
                file.rename(file.with_name(f"new{index:04}.png"))
    data = load(f"folder:{images}", registry)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.notes == ()


def test_what_lies_elsewhere_is_said_with_its_count(images: Path, registry: Registry) -> None:
    before = load(f"folder:{images}", registry).digest
    (images / "train/cat/.#0.png").symlink_to("somebody@host.4711:17")
    for path in ("old/cat/0.png", "old/ant/1.png", "train/cat/more/even/2.png", "train/cat/more/3.png"):
        (images / path).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(images / path)
    data = load(f"folder:{images}", registry)
    assert data.digest == before
    assert data.notes == (
        f"files skipped, being no image in a class folder: 1, such as {images}/train/cat/.#0.png",
        f"files skipped in folders below a class: 2, such as {images}/train/cat/more/3.png",
        f"not used: the 2 files in {images}/old, for images are read from train and test only",
    )


def test_a_class_whose_images_lie_in_folders_below_it_is_refused_with_what_to_do(
    images: Path, registry: Registry
) -> None:
    for number, file in enumerate(sorted((images / "train/cat").glob("*.png"))):
        (images / f"train/cat/session{number}").mkdir()
        file.rename(images / f"train/cat/session{number}" / file.name)
    assert refusal(images, registry) == (
        f"{images}/train/cat holds no image; every class needs one in train and in test, and what lies in folders "
        f"below it is not read (3 files, such as {images}/train/cat/session0/0.png): move it up"
    )


def test_a_validation_folder_is_used_and_said(images: Path, registry: Registry) -> None:
    for index in range(4):
        folder = images / "val" / ("cat", "ant")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(200 + index).save(folder / f"{index}.png")
    data = load(f"folder:{images}", registry)
    assert data.validation
    np.testing.assert_array_equal(data.validation.images[1].permute(1, 2, 0), np.asarray(picture(201)))
    assert data.notes == ("its own validation part is used: 4 images",)
    assert has_validation(f"folder:{images}", registry)
    with pytest.raises(DataError) as error:
        load(f"folder:{images}", registry, Options(validation=0.5))
    assert str(error.value) == (
        f"folder:{images}: it has a validation part of its own, of 4 images, so that data.validation = 0.5 has no "
        "meaning; leave it out"
    )
    (images / "val").rename(images / "valid")
    assert load(f"folder:{images}", registry).digest == data.digest
    (images / "validation").mkdir()
    assert refusal(images, registry) == (
        f"{images}: both {images}/valid and {images}/validation hold validation images; keep one"
    )


def test_a_folder_of_classes_is_split(images: Path, registry: Registry) -> None:
    remove_test(images)
    data = load(f"folder:{images}", registry, Options(test=0.34))
    other = f"folder:{images}/train"
    same = load(other, registry, Options(test=0.34))
    assert (len(same.train), len(same.test), same.digest) == (3, 3, data.digest)
    assert same.notes == ("3 of 6 training images became the test part, by class in equal shares",)
    assert not has_validation(other, registry)
    with pytest.raises(DataError, match=r"it has no test images; `sets=\{'data.test': 0.2\}` splits a fifth"):
        load(other, registry)


def test_images_of_one_group_stay_together(tmp_path: Path, registry: Registry) -> None:
    for index in range(40):
        folder = tmp_path / ("cat", "ant")[index % 2]
        folder.mkdir(exist_ok=True)
        picture(index).save(folder / f"p{index // 4:02}_{index}.png")
    data = load(f"folder:{tmp_path}", registry, Options(test=0.2, validation=0.25, group_by=r"(p\d+)_"))
    groups = {part: {name.partition("/")[2][:3] for name in names} for part, names in data.names.items()}
    assert {part: len(found) for part, found in groups.items()} == {"train": 6, "test": 2, "validation": 2}
    assert len(set.union(*groups.values())) == 10
    assert data.notes == (
        "8 of 40 training images became the test part: 2 of 10 groups, each whole (asked for: 20%)",
        "8 of 32 training images became the validation part: 2 of 8 groups, each whole (asked for: 25%)",
    )
    for pattern, text in (
        (r"(p\d)\d_(", "is no regular expression: missing ), unterminated subpattern at position 8"),
        (r"p\d+", "must have one pair of parentheses, around what tells groups apart, as in 'patient(\\d+)_'"),
        (r"(q\d+)", "is not found in cat/p00_0.png"),
    ):
        with pytest.raises(DataError) as error:
            load(f"folder:{tmp_path}", registry, Options(test=0.2, group_by=pattern))
        assert str(error.value).endswith(f"data.group_by = {pattern!r} {text}")
    with pytest.raises(DataError, match="the class 'ant' is in 4 of 4 groups, and some must go to either part"):
        load(f"folder:{tmp_path}", registry, Options(test=0.2, group_by="p0?([0-3])"))


@pytest.mark.parametrize("number", range(6))
def test_damaged_files_are_left_out_and_listed(number: int, images: Path, registry: Registry) -> None:
    damaged = sorted(images.glob("train/*/*.png"), key=lambda path: path.name)[number]
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert refusal(images, registry).startswith(f"{damaged} cannot be read as an image: ")
    data = load(f"folder:{images}", registry, Options(skip_damaged=True))
    assert (len(data.train), len(data.names["train"])) == (5, 5)
    for name, image in zip(data.names["train"], data.train.images, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0), np.asarray(Image.open(images / name)))
    said, _, file = data.notes[0].rpartition(" ")
    assert said == "files left out because they cannot be read: 1, listed in"
    assert Path(file).read_text(encoding="utf-8").startswith(f"{damaged} cannot be read as an image: ")


def test_sixteen_bits_for_each_colour_become_eight_and_it_is_said(images: Path, registry: Registry) -> None:
    # Pillow cannot write such a file: two pixels of red 0x1234, green 0xff00, blue 0x00ff.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">HHH", 0x1234, 0xFF00, 0x00FF) * SIDE for _ in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    content = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    (images / "train" / "cat" / "0.png").write_bytes(b"".join(content))
    data = load(f"folder:{images}", registry)
    assert data.notes == ("images of 16 bits for each colour, of which the upper 8 were taken: 1",)
    assert data.train.images[0, :, 0, 0].tolist() == [0x12, 0xFF, 0x00]


def test_images_are_turned_as_orientation_tags_say_and_it_is_said(images: Path, registry: Registry) -> None:
    exif = Image.Exif()
    for index, value in enumerate((1, 6)):
        exif[0x0112] = value
        picture(index).save(images / "train" / ("cat", "ant")[index] / f"{index}.png", exif=exif)
    data = load(f"folder:{images}", registry)
    assert data.notes == ("images turned as their camera's orientation tag says: 1",)
    np.testing.assert_array_equal(data.train.images[0].permute(1, 2, 0), np.asarray(picture(0)))
    # 6: what was the top stands at the right.
    np.testing.assert_array_equal(data.train.images[1].permute(1, 2, 0), np.rot90(np.asarray(picture(1)), -1))


def test_all_grey_images_have_one_channel(images: Path, registry: Registry) -> None:
    for index, file in enumerate(sorted(images.glob("*/*/*.png"))):
        picture(index, "L").save(file)
    data = load(f"folder:{images}", registry)
    assert data.shape == (1, SIDE, SIDE)
    assert data.notes == ()
    first = np.asarray(Image.open(images / "train" / "cat" / "0.png"))
    np.testing.assert_array_equal(data.train.images[0, 0], first)


def test_grey_among_colour_becomes_colour_and_is_said(images: Path, registry: Registry) -> None:
    picture(7, "L").save(images / "train" / "cat" / "0.png")
    data = load(f"folder:{images}", registry)
    assert data.notes == ("grey images made colour: 1",)
    for channel in data.train.images[0]:
        np.testing.assert_array_equal(channel, np.asarray(picture(7, "L")))


def test_other_kinds_of_images_are_handled_and_said(images: Path, registry: Registry) -> None:
    cats = images / "train" / "cat"
    glass = Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 0))
    glass.putpixel((0, 0), (10, 20, 30, 255))
    glass.save(cats / "0.png")
    palette = picture(2).quantize(16)
    palette.save(cats / "2.png")
    picture(4, "CMYK").save(cats / "4.jpg")
    (cats / "4.png").unlink()
    picture(5).save(images / "train" / "ant" / "5.tif", save_all=True, append_images=[picture(6)])
    (images / "train" / "ant" / "5.png").unlink()
    data = load(f"folder:{images}", registry)
    assert data.notes == (
        "images in another colour space made RGB: 1",
        "images with several frames, of which the first was taken: 1",
        "images with transparent parts laid on black: 1",
        "palette images made colour: 1",
    )
    assert data.train.images[0].sum() == 10 + 20 + 30
    assert data.train.images[0, :, 0, 0].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(data.train.images[2].permute(1, 2, 0), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(data.train.images[5].permute(1, 2, 0), np.asarray(picture(5)))


def test_grey_with_transparency_stays_grey(images: Path, registry: Registry) -> None:
    for index, file in enumerate(sorted(images.glob("*/*/*.png"))):
        grey = picture(index, "L").convert("LA")
        grey.putpixel((0, 0), (200, 0))
        grey.save(file)
    data = load(f"folder:{images}", registry)
    assert data.shape == (1, SIDE, SIDE)
    assert data.train.images[:, 0, 0, 0].tolist() == [0] * 6
    assert data.notes == ("images with transparent parts laid on black: 10",)


def test_files_that_are_no_images_are_skipped_and_said(images: Path, registry: Registry) -> None:
    for name in (
        "train/cat/Thumbs.db",
        "train/cat/.hidden.png",
        "train/.DS_Store",
        "train/stray.png",
        "test/ant/a.txt",
    ):
        (images / name).write_text("no image")
    (images / "test" / ".git").mkdir()
    (images / "test" / "ant" / "deeper.png").mkdir()
    data = load(f"folder:{images}", registry)
    assert len(data.train) == 6
    assert data.notes == (f"files skipped, being no image in a class folder: 7, such as {images}/test/.git",)


def remove_test(root: Path) -> None:
    for file in sorted(root.glob("test/**/*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (root / "test").rmdir()


def only_in(part: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / part / "dog").mkdir()
        picture(0).save(root / part / "dog" / "0.png")

    return change


def flatten(root: Path) -> None:
    for file in sorted(root.glob("train/*/*")):
        file.rename(root / "train" / f"{file.parent.name}{file.name}")
    for folder in ("cat", "ant"):
        (root / "train" / folder).rmdir()


def truncate(root: Path) -> None:
    file = root / "train" / "ant" / "3.png"
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            remove_test,
            "folder:{root}: it has no test images; `sets={{'data.test': 0.2}}` splits a fifth of all off",
        ),
        (flatten, "{root}/train holds no folder; images are read from {root}/train/<class>/*"),
        (
            lambda root: (root / "test" / "dog").mkdir(),
            "{root}/test/dog holds no image; every class needs one in train and in test",
        ),
        (only_in("test"), "{root}: test has the class 'dog', which train does not have"),
        (only_in("train"), "{root}: test has no image of the class 'dog', so its recall would be undefined"),
        (truncate, "{root}/train/ant/3.png cannot be read as an image: "),
        (
            lambda root: (root / "test" / "cat" / "0.png").write_bytes(b""),
            "{root}/test/cat/0.png cannot be read as an image: cannot identify image file",
        ),
        (
            lambda root: picture(0, size=(6, 5)).save(root / "test" / "cat" / "2.png"),
            "images differ in size: {root}/train/cat/0.png is 4x4 pixels, {root}/test/cat/2.png is 6x5; "
            "`sets={{'data.resize': 32}}` brings all to 32x32",
        ),
        (
            lambda root: Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(root / "train" / "ant" / "1.png"),
            "{root}/train/ant/1.png has more than 8 bits for each pixel (Pillow's mode I;16): convert it",
        ),
    ],
)
def test_unusable_folders_are_refused(
    change: Callable[[Path], None], text: str, images: Path, registry: Registry
) -> None:
    change(images)
    assert refusal(images, registry).startswith(text.format(root=images))


def test_a_single_class_is_refused(tmp_path: Path, registry: Registry) -> None:
    for part in ("train", "test"):
        (tmp_path / part / "ant").mkdir(parents=True)
        picture(0).save(tmp_path / part / "ant" / "0.png")
    assert refusal(tmp_path, registry) == f"folder:{tmp_path}: classification needs at least 2 classes, got 1"


def test_a_missing_folder_is_named(tmp_path: Path, registry: Registry) -> None:
    origin = source(f"folder:{tmp_path}/no", registry)
    missing = f"there is no folder {tmp_path}/no ({LAYOUT})"
    assert origin.missing() == missing
    with pytest.raises(DataError) as error:
        origin.get(lambda done, total: None)
    assert str(error.value) == f"folder:{tmp_path}/no: {missing}; zoo cannot download it"


def test_getting_a_folder_that_is_there_does_nothing(images: Path, registry: Registry) -> None:
    source(f"folder:{images}", registry).get(lambda done, total: None)


def test_images_of_mixed_sizes_can_be_resized(images: Path, registry: Registry) -> None:
    odd = images / "train" / "cat" / "0.png"
    picture(0, size=(9, 5)).save(odd)
    data = load(f"folder:{images}", registry, Options(resize=6))
    assert data.shape == (3, 6, 6)
    pixels = np.asarray(Image.open(odd)).transpose(2, 0, 1)[np.newaxis]
    np.testing.assert_array_equal(data.train.images[:1], resized(np.ascontiguousarray(pixels), 6))


def test_an_edited_image_is_read_again(images: Path, registry: Registry) -> None:
    before = load(f"folder:{images}", registry).digest
    picture(99).save(images / "train" / "cat" / "0.png")
    assert load(f"folder:{images}", registry).digest != before
    picture(0).save(images / "train" / "cat" / "0.png")
    assert load(f"folder:{images}", registry).digest == before


def test_an_edit_behind_a_link_is_seen(images: Path, registry: Registry, tmp_path: Path) -> None:
    (images / "train" / "cat").rename(tmp_path / "elsewhere")
    (images / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    before = load(f"folder:{images}", registry).digest
    picture(99).save(tmp_path / "elsewhere" / "0.png")
    assert load(f"folder:{images}", registry).digest != before


def test_an_empty_class_that_is_added_is_seen(images: Path, registry: Registry) -> None:
    load(f"folder:{images}", registry)
    (images / "train" / "dog").mkdir()
    assert refusal(images, registry).startswith(f"{images}/train/dog holds no image")


@pytest.fixture(scope="session")
def cifar10_jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of the archive, enough for some of each class in train and test."""
    if not ARCHIVE.exists():
        pytest.skip(f"needs {ARCHIVE.name}")
    root = tmp_path_factory.mktemp("jpegs")
    wanted = {(part, index) for part in ("train", "test") for index in range(150)}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            path = Path(member.name)
            key = (path.parts[-3], int(path.stem)) if member.isfile() and path.suffix == ".jpg" else None
            if key in wanted:
                wanted.remove(key)
                archive.extract(member, root, filter="data")
            if not wanted:
                break
    return root / "cifar10-jpeg"


def test_cifar10_jpegs_are_in_the_original_order(cifar10_jpegs: Path, registry: Registry) -> None:
    data = load(f"folder:{cifar10_jpegs}", registry, Options(validation=0.2))
    assert data.shape == (3, 32, 32)
    assert data.validation
    assert (len(data.train), len(data.validation), len(data.test)) == (120, 30, 150)
    assert len(data.classes) == 10
    assert not data.sorted_by_class
    # The labels of CIFAR-10's first test images, as published.
    assert [data.classes[label] for label in data.test.labels[:4]] == ["cat", "ship", "ship", "airplane"]


def test_one_class_in_two_spellings_of_unicode_is_one(images: Path, registry: Registry) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (images / "train/cat").rename(images / "train" / composed)
    (images / "test/cat").rename(images / "test" / decomposed)
    (images / "train" / decomposed).mkdir()
    picture(7).save(images / "train" / decomposed / "7.png")
    data = load(f"folder:{images}", registry)
    assert data.classes == ("ant", composed)
    assert np.bincount(data.train.labels).tolist() == [3, 4]
    assert data.notes == (f"the class {composed!r} is spelled in several ways of Unicode, taken for one",)


def test_a_class_in_one_spelling_keeps_it_and_with_it_the_digest(images: Path, registry: Registry) -> None:
    for part in ("train", "test"):
        (images / part / "cat").rename(images / part / "cafe\u0301")
    data = load(f"folder:{images}", registry)
    assert data.classes == ("ant", "cafe\u0301")
    assert data.notes == ()


def test_hidden_links_that_lead_nowhere_are_skipped(images: Path, registry: Registry) -> None:
    before = load(f"folder:{images}", registry)
    for link in ("train/cat/.#note.txt", "train/.hidden", ".DS_Store"):
        (images / link).symlink_to("somebody@host.4711:17")
    data = load(f"folder:{images}", registry)
    assert data.digest == before.digest
    assert data.notes == (f"files skipped, being no image in a class folder: 2, such as {images / 'train/.hidden'}",)


def test_links_of_images_and_classes_that_lead_nowhere_are_named(images: Path, registry: Registry) -> None:
    before = load(f"folder:{images}", registry)
    for link in ("train/cat/9.png", "train/dog", "val"):
        path = images / link
        path.symlink_to("/unmounted/there")
        said = f"{path} is a link to /unmounted/there, which is not there; bring that back, or remove the link"
        assert said in refusal(images, registry)
        if link.endswith(".png"):
            data = load(f"folder:{images}", registry, Options(skip_damaged=True))
            assert len(data.train) == len(before.train)
            assert any(note.startswith("files left out because they cannot be read: 1,") for note in data.notes), (
                data.notes
            )
        path.unlink()
    (images / "train/cat/9.png").symlink_to("9.png")
    assert "which is not there" in refusal(images, registry), "a link to itself"
    (images / "train/cat/9.png").unlink()
    (images / "train/cat/notes.txt").symlink_to("/unmounted/there")
    assert load(f"folder:{images}", registry).digest == before.digest, "no image by its name"
