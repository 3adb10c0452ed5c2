"""The pictures of the quickstart: few, chosen by hand, each with its task and three texts that it could be."""

from __future__ import annotations

from treg_exp.data.packaged import PackagedImages
from treg_exp.shipped import ASSETS


class Gallery(PackagedImages):
    """The packaged gallery, in the order of its table; see its README."""

    packaged = ASSETS / "gallery"
