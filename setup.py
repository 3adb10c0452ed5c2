"""Packages: those of src, and the configuration at the top of the repository as treg_exp.conf.

An editable installation finds the configuration in the repository, so that a file added there is an option at once.
"""

import sys

from setuptools import find_packages, setup

packages, package_dir = [*find_packages("src"), "hydra_plugins.treg_exp"], {"": "src"}
if "editable_wheel" not in sys.argv:
    packages.append("treg_exp.conf")
    package_dir["treg_exp.conf"] = "conf"
setup(packages=packages, package_dir=package_dir)
