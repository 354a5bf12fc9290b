"""Subjects, profiles and the values they share, as a graph whose components are profiles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """Which holders (subjects, or whole profiles) show which values; one entry per link."""

    holders: Ids
    values: Ids


class Graph:
    """The components over some links. A profile that stays whole is one node, whatever it consists of.

    Args:
        ids: subjects of interest, whether or not they have a link.
        profiles: for each of `ids`, the whole profile it belongs to; 0 for none.
        links: values are numbered from 0.
        wholes: holders of links that are whole profiles.
    """

    def __init__(self, ids: Ids, profiles: Ids, links: Links, wholes: Ids) -> None:
        belongs = profiles > 0
        self._wholes = np.unique(np.concatenate([profiles[belongs], wholes]))
        self._ids = np.unique(np.concatenate([ids, self._wholes, links.holders]))
        owners = self._ids.copy()
        owners[self._at(ids[belongs])] = profiles[belongs]
        self._links = Links(owners[self._at(links.holders)], links.values)
        values = len(self._ids) + links.values
        left = np.concatenate([self._at(links.holders), self._at(ids[belongs])])
        right = np.concatenate([values, self._at(profiles[belongs])])
        size = len(self._ids) + int(links.values.max(initial=-1)) + 1
        matrix = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
        count, labels = connected_components(matrix, directed=False)
        self._labels = labels[: len(self._ids)]
        smallest = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(smallest, self._labels, self._ids)
        identified = np.zeros(count, np.bool_)
        identified[labels[values]] = True
        identified[self._labels[self._at(self._wholes)]] = True
        self._profile = np.where(identified, smallest, 0)

    def _at(self, ids: Ids) -> NDArray[np.intp]:
        return np.searchsorted(self._ids, ids)

    def profiles(self, ids: Ids) -> Ids:
        """The profile of each of these subjects: the smallest id of its component, 0 where nothing identifies it."""
        return self._profile[self._labels[self._at(ids)]]

    def merged(self) -> tuple[Ids, Ids]:
        """Whole profiles that are part of another one now, and which."""
        into = self.profiles(self._wholes)
        gone = into != self._wholes
        return self._wholes[gone], into[gone]

    def reasons(self, merged: Ids) -> Ids:
        """For each of these profiles, merged away, a value that it shares with another holder."""
        pairs = np.unique(np.stack([self._links.values, self._links.holders]), axis=1)
        sharing = pairs[:, np.bincount(pairs[0])[pairs[0]] > 1]
        values, holders = sharing[:, np.argsort(sharing[1], kind="stable")]
        return values[np.searchsorted(holders, merged)]
