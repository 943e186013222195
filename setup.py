"""The distribution. Tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "zoo/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
assert VERSION
SITE = ["furo>=2024.8", "myst-parser>=4", "sphinx>=8"]

setup(
    # PyPI's `zoo` belongs to another project.
    name="layer-zoo",
    version=VERSION[1],
    description="Does my layer help? A plugin-based zoo of layer variants, and a benchmark with honest verdicts.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["zoo", "zoo.*"]), "zoo_plugins"],
    package_dir={"zoo_plugins": "plugins/zoo_plugins"},
    package_data={
        "zoo": ["py.typed", "gallery/static/*", "report/*.jinja", "report/*.js", "templates/new_plugin/**/*.jinja"],
        "zoo_plugins": ["py.typed", "*.toml"],
    },
    install_requires=[
        "attrs>=23.2",
        "cattrs>=24.1",
        "click>=8.1",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "numpy>=1.26",
        "pandas>=2.2",
        "pillow>=10",
        "platformdirs>=4",
        "pluggy>=1.5",
        "pyarrow>=16",
        "rich>=13",
        "safetensors>=0.4",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "statsmodels>=0.14.2",
        "tabulate>=0.9",
        "torch>=2.9",
        "torchvision>=0.24",
    ],
    extras_require={
        "test": [
            *SITE,
            "axe-playwright-python>=0.1.4",
            "hypothesis>=6.100",
            "ipykernel>=6",
            "nbclient>=0.9",
            "nbformat>=5",
            "onnx",
            "onnxruntime",
            "onnxscript",
            "optuna>=4",
            "markdown-it-py>=3",
            "playwright>=1.45",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "pytorch-optimizer>=4.1",
            "ray>=2.60",
        ],
        "hf": ["huggingface_hub>=0.34"],
        # For the plugins of their own under plugins/, and their tests.
        "outside": [
            "alembic>=1.13",
            "mlflow-skinny>=3",
            "sqlalchemy>=2",
            "sqlparse>=0.4",
            "tensorboard>=2.16",
            "timm>=1.0.20",
        ],
        # For zoo gallery and docs/site.py.
        "site": SITE,
        "check": ["onnx", "onnxruntime", "onnxscript"],
        "export": ["onnx", "onnxruntime", "onnxscript"],
        "optuna": ["optuna>=4"],
        "optimizers": ["pytorch-optimizer>=4.1"],
        "ray": ["ray>=2.60"],
        "benchmarks": ["lightning>=2", "skorch>=1"],
        "dev": ["build", "import-linter>=2", "mypy>=1.14", "pandas-stubs", "pre-commit", "ruff>=0.9", "types-tabulate"],
    },
    entry_points={
        "console_scripts": ["zoo = zoo.cli:main"],
        "zoo": ["first_party = zoo_plugins"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
