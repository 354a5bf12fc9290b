"""What the generated retailer sells, where, and how its customers are called. Every text fits into cp1252."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_FIRST_NAMES = (
    "Adèle Agnès Alice Amélie Anaïs Antoine Arthur Aurélie Basile Benoît Bruno Camille Cécile Chloé Clément Damien "
    "Denis Éléonore Élise Émile Emma Étienne Eva Fabien Félix François Gaël Gaëtan Hélène Hugo Inès Iris Jade "
    "Jérôme Joël Jules Julie Karim Léa Léo Louise Lucas Maëlle Manon Margaux Maxime Mehdi Mélanie Nadia Naïm Nathan "
    "Nina Noé Noémie Océane Olivier Pauline Quentin Raphaël Rémi Romane Salomé Sami Sofia Solène Stéphane Théo "
    "Thomas Valérie Victor Yasmine Yann Yves Zoé Ana Björn Carmen Dörte Fiona George Harriet Ingrid Jürgen Maeve "
    "Oliver Priya Rory Søren"
)
_LAST_NAMES = (
    "André Arnaud Aubert Barbier Baron Benali Bernard Bertrand Blanchard Bonnet Boucher Brun Carlier Caron "
    "Charpentier Chevalier Colin Cordier Da-Silva David Delacroix Delaunay Denis Dubois Dufour Dumas Dupont Durand "
    "Fabre Faure Ferreira Fontaine Fournier François Gaillard Garnier Gautier Gérard Giraud Grégoire Guérin Guillot "
    "Haddad Hamel Henry Hubert Jacquet Joly Lacroix Lambert Leclerc Lefèvre Legrand Lemaître Leroy Lévêque Maillard "
    "Marchand Martin Masson Mathieu Mercier Meunier Meyer Michel Moreau Morel Nguyen Noël Olivier Perrin Petit "
    "Picard Poirier Prévost Renaud Rivière Robert Rousseau Roux Royer Schmitt Simon Tessier Thomas Vasseur Vidal "
    "Vincent Weber Ashworth Byrne De-Smet Fletcher Janssens Maes Müller O'Connor Peeters Sørensen"
)
FIRST_NAMES = tuple(_FIRST_NAMES.split())
LAST_NAMES = tuple(_LAST_NAMES.split())
DOMAINS = ("mail.example", "post.example", "inbox.example", "example.org", "example.net", "work.example")

STORES = ("S01", "S02", "S03", "S04", "S05", "S06", "S07", "S08", "S09", "S10", "S11", "S12")
TILLS = 4
TILL_PHONES = ("0140000001", "0140000002", "0472000003", "0491000004", "0556000005", "0320000006")
"""What a cashier types where the till demands a number and the customer has none: one for every two stores."""
BLOCKED_EMAIL = "test@test.com"
BLOCKED_PHONE = "0000000000"

# category: (its share of the lines in winter, spring, summer, autumn; price of a middling article in cents; articles)
_CATEGORIES: dict[str, tuple[tuple[float, float, float, float], int, tuple[str, ...]]] = {
    "kitchen": ((3, 2, 2, 3), 1490, ("Bol en grès", 'Poêle 28 cm "Pro"', "Planche, olivier", "Théière émaillée")),
    "tableware": ((3, 2, 2, 3), 990, ("Assiette creuse", "Verre à pied, les 6", "Nappe 140 x 200\nlin lavé", "Carafe")),
    "bedding": ((2, 1, 1, 2), 4990, ("Housse de couette", "Drap, percale", "Oreiller mémoire", "Plaid tricoté")),
    "bath": ((1, 1, 1, 1), 1790, ("Serviette éponge", "Tapis de bain", 'Savon "Fleur de sel"', "Peignoir")),
    "garden": ((0.2, 3, 3, 0.5), 2490, ("Bac à fleurs", "Arrosoir, zinc", "Sécateur", "Chaise pliante")),
    "lighting": ((2, 1, 0.5, 2), 3490, ("Lampe à poser", "Guirlande, 10 m", "Suspension rotin", "Bougie parfumée")),
    "toys": ((3, 1, 1, 1), 1990, ("Puzzle, 500 pièces", "Peluche Éléphant", "Jeu de cartes", "Cubes en hêtre")),
    "stationery": ((1, 1, 1, 2), 590, ("Carnet ligné", "Stylo-plume", "Papier cadeau, 5 m", "Agenda\nà spirale")),
    "food": ((3, 2, 2, 2), 690, ("Café moulu", "Miel de lavande", "Thé vert, vrac", "Biscuits sablés")),
    "premium": ((1, 0.5, 0.5, 0.7), 18900, ("Robot de cuisine", "Fauteuil velours", "Cave à vin", "Tapis berbère")),
}
_SHADES = ("blanc", "bleu", "vert", "ocre", "gris", "rose", "naturel", "édition limitée")


@dataclass(frozen=True)
class Catalogue:
    """The articles, by number.

    Args:
        text: "sku,description,category" as CSV.
        cents: price (int64).
        breaks: line breaks inside the description (int64).
        popularity: one row per season, cumulated from 0 to 1 over the articles.
    """

    text: pa.StringArray
    cents: npt.NDArray[np.int64]
    breaks: npt.NDArray[np.int64]
    popularity: npt.NDArray[np.float64]


def catalogue(rng: np.random.Generator) -> Catalogue:
    """Every article in every shade, a few of them very popular."""
    texts: list[str] = []
    cents: list[int] = []
    shares: list[tuple[float, ...]] = []
    for category, (seasons, price, articles) in _CATEGORIES.items():
        for article in articles:
            for shade in _SHADES:
                texts.append(f"{category[:2].upper()}{len(texts) + 1:05d},{quoted(f'{article}, {shade}')},{category}")
                cents.append(max(95, int(price * rng.lognormal(0, 0.45)) // 5 * 5))
                shares.append(seasons)
    liked = np.minimum(rng.pareto(1.5, len(texts)), 10) + 0.3
    weights = np.array(shares).T * liked
    popularity = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    breaks = np.array([text.count("\n") for text in texts])
    return Catalogue(pa.array(texts), np.array(cents), breaks, popularity)


def quoted(text: str) -> str:
    """The text as a CSV field: in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text


def plain(names: Sequence[str]) -> list[str]:
    """The names as they stand in e-mail addresses: lower case ASCII letters."""
    spelled = (unicodedata.normalize("NFKD", name.replace("ø", "o").replace("Ø", "O")) for name in names)
    return ["".join(letter for letter in name if letter.isascii() and letter.isalpha()).lower() for name in spelled]
