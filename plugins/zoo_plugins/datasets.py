"""Data sets: one that comes with scikit-learn, those that torchvision downloads, and the user's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import Register, hookimpl

if TYPE_CHECKING:
    from zoo.data import Source


@hookimpl
def zoo_register_datasets(register: Register) -> None:
    """Register the data sets."""
    register("digits", digits)
    register("cifar10", cifar10)
    register("cifar100", cifar100)
    register("mnist", mnist)
    register("fashion_mnist", fashion_mnist)
    register("svhn", svhn)
    register("folder", folder)
    register("npz", npz)
    register("csv", csv)
    register("parquet", parquet)
    register("hf", hf)
    register("wds", wds)


def digits() -> Source:
    """Handwritten digits: 1,797 grey images of 8x8 in 10 classes; part of scikit-learn, no download.

    Every fifth image of each class, in file order, is a test image.

    Paper: Alpaydin and Kaynak, 1998, Cascading classifiers.
    """
    from zoo_plugins._dataset_digits import Digits

    return Digits()


def cifar10() -> Source:
    """CIFAR-10: 60,000 colour images of 32x32 in 10 classes; a download of 170 MB.

    Paper: Krizhevsky, 2009, Learning multiple layers of features from tiny images.
    """
    from zoo_plugins._dataset_torchvision import Cifar

    return Cifar("cifar10", "CIFAR-10", "CIFAR10", ("cifar-10-python.tar.gz",), megabytes=170)


def cifar100() -> Source:
    """CIFAR-100: 60,000 colour images of 32x32 in 100 classes; a download of 169 MB.

    Paper: Krizhevsky, 2009, Learning multiple layers of features from tiny images.
    """
    from zoo_plugins._dataset_torchvision import Cifar

    return Cifar("cifar100", "CIFAR-100", "CIFAR100", ("cifar-100-python.tar.gz",), megabytes=169, class_count=100)


def mnist() -> Source:
    """MNIST: 70,000 grey images of handwritten digits, 28x28, in 10 classes; a download of 12 MB.

    Paper: LeCun, Bottou, Bengio and Haffner, 1998, Gradient-based learning applied to document recognition.
    """
    from zoo_plugins._dataset_torchvision import MNIST_FILES, Mnist

    return Mnist("mnist", "MNIST", "MNIST", MNIST_FILES, megabytes=12, shape=(1, 28, 28))


def fashion_mnist() -> Source:
    """Fashion-MNIST: 70,000 grey images of clothing, 28x28, in 10 classes; a download of 31 MB.

    Paper: Xiao, Rasul and Vollgraf, 2017, Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms.
    """
    from zoo_plugins._dataset_torchvision import MNIST_FILES, Mnist

    return Mnist("fashion_mnist", "Fashion-MNIST", "FashionMNIST", MNIST_FILES, megabytes=31, shape=(1, 28, 28))


def svhn() -> Source:
    """SVHN: 99,289 colour images of house numbers, 32x32, in 10 classes; a download of 246 MB.

    Paper: Netzer, Wang, Coates, Bissacco, Wu and Ng, 2011, Reading digits in natural images with unsupervised
    feature learning.
    """
    from zoo_plugins._dataset_torchvision import Svhn

    return Svhn("svhn", "SVHN", "SVHN", ("train_32x32.mat", "test_32x32.mat"), megabytes=246)


def folder(*, path: str = "") -> Source:
    """Image files in train/<class>/* and test/<class>/*, or in <class>/*, below a folder: `folder:PATH`."""
    from zoo_plugins._dataset_folder import Folder

    return Folder(path)


def npz(*, path: str = "") -> Source:
    """A NumPy .npz file with train_images, train_labels, test_images, test_labels, maybe classes: `npz:PATH`."""
    from zoo_plugins._dataset_npz import Npz

    return Npz(path)


def csv(*, path: str = "") -> Source:
    """Image files that a CSV file lists in the columns file and label, maybe part and others: `csv:PATH`."""
    from zoo_plugins._dataset_csv import Csv

    return Csv(path)


def parquet(*, path: str = "") -> Source:
    """Parquet files with columns of images and labels, as Hugging Face's hub has them: `parquet:PATH`."""
    from zoo_plugins._dataset_parquet import Parquet

    return Parquet(path)


def hf(*, path: str = "") -> Source:
    """A data set of Hugging Face's hub, downloaded as Parquet files: `hf:OWNER/NAME`, `hf:OWNER/NAME/CONFIG`."""
    from zoo_plugins._dataset_hf import HuggingFace

    return HuggingFace(path)


def wds(*, path: str = "") -> Source:
    """Tar files of images with .cls or .json beside them, as WebDataset has them: `wds:PATH`."""
    from zoo_plugins._dataset_webdataset import WebDataset

    return WebDataset(path)
