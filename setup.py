"""Finds the packages; everything else about the build is in pyproject.toml and setup.cfg."""

from setuptools import find_packages, setup

WORKSHOPS = ("synth", "train", "benchmarks")  # folders at the top that are installed inside limrank_ir (see setup.cfg)

setup(
    packages=[
        *find_packages(include=["limrank_ir*"]),
        *(
            f"limrank_ir.{package}"
            for workshop in WORKSHOPS
            for package in find_packages(include=[workshop, f"{workshop}.*"])
        ),
    ]
)
