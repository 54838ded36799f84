"""Names of a dataset and, if it is a union, of its sources: the identity of an image in several datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Identity = tuple[str, str]  # name of the dataset, and identifier of an image or a patient in it


@dataclass(frozen=True)
class DatasetNames:
    """Names of a dataset.

    Attributes:
        name: Name in tables and file names.
        sources: Names of the datasets of a union; empty for any other dataset.
    """

    name: str
    sources: tuple[str, ...] = ()

    @classmethod
    def of_config(cls, dataset: Mapping[str, Any]) -> DatasetNames:
        """Return the names in the section `dataset` of a config."""
        reader = dataset.get("reader")
        sources = reader.get("sources") if isinstance(reader, Mapping) else None
        return cls(str(dataset["name"]), tuple(map(str, sources)) if isinstance(sources, Mapping) else ())

    @property
    def all(self) -> frozenset[str]:
        """The name and the names of the sources."""
        return frozenset((self.name, *self.sources))

    def identity(self, identifier: str) -> Identity:
        """Return the dataset of an image or a patient, and its identifier there.

        Args:
            identifier: Case or patient in this dataset; in a union, it starts with the name of the source.

        Example:
            >>> DatasetNames("union", ("inbreast", "cbis_ddsm")).identity("inbreast-20586908")
            ('inbreast', '20586908')
            >>> DatasetNames("clinic").identity("inbreast-20586908")
            ('clinic', 'inbreast-20586908')
        """
        for source in self.sources:
            if identifier.startswith(f"{source}-"):
                return source, identifier.removeprefix(f"{source}-")
        return self.name, identifier
