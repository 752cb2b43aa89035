"""Writes `spanish.tsv`: for each Spanish word the English word that says most likely what it says. Names of places
stand there with their capital; those of people stay what they are.

    python3 make.py MCR WORDNET > spanish.tsv

MCR is a folder with the Spanish word net of the Multilingual Central Repository 3.0 in the format of WordNet, as extJWNL
publishes it (`index.*`, `ili.csv`) together with its `wn31-30.csv`; WORDNET the `dict` folder of Princeton WordNet 3.1
(`data.*`, `index.sense`). A word has several meanings, each with several English words: what a meaning counts is how often
its English words were met with it (`index.sense`), shared among the Spanish words for it; what is spelled alike counts more,
since «máquina» is a machine before it is a car.
"""

import collections
import difflib
import pathlib
import sys
import unicodedata

# The number of `noun.location` among the files that WordNet was made of.
LOCATION = "15"
POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


def rows(path):
    """The rows of a file of WordNet, without the licence that it begins with."""
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("  ")]


def english(wordnet):
    """The words of each meaning, best first; how often each was met with it; which meanings are single things with
    a name, and whether they are places."""
    words, named = collections.defaultdict(list), {}
    for pos, letter in POS.items():
        for row in rows(wordnet / f"data.{pos}"):
            for at in range(int(row[3], 16)):
                words[letter + row[0]].append(row[4 + 2 * at].split("(")[0].replace("_", " "))
            if "@i" in row:
                named[letter + row[0]] = row[1] == LOCATION
    met = collections.Counter()
    for key, offset, _, count in rows(wordnet / "index.sense"):
        lemma, kind = key.split("%")
        met[lemma.replace("_", " "), " nvara"[int(kind[0])] + offset] += int(count)
    return words, met, named


def spanish(mcr):
    """The meanings of each word, by the English offsets of WordNet 3.1."""
    to_31 = {}
    for line in (mcr / "wn31-30.csv").read_text().split():
        new, old = line.split(",")
        to_31[old] = f"{new[0]}{int(new[1:]):08}"
    shared = dict(line.split(",") for line in (mcr / "ili.csv").read_text().split())
    meanings = collections.defaultdict(list)
    for pos, letter in POS.items():
        index = rows(mcr / f"index.{pos}")
        offsets = sorted({offset for row in index for offset in row[-int(row[2]) :]})
        to_30 = {offset: shared[f"{letter}#{at:06}"] for at, offset in enumerate(offsets)}
        for row in index:
            # What has no Spanish word stands there in English, behind a mark.
            if not row[0].startswith("`"):
                found = (to_31.get(to_30[offset]) for offset in row[-int(row[2]) :])
                meanings[row[0].replace("_", " ")] += [meaning for meaning in found if meaning]
    return meanings


def plain(word):
    return "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))


def main(mcr, wordnet):
    words, met, named = english(wordnet)
    meanings = spanish(mcr)
    sharing = collections.Counter(meaning for all_of_word in meanings.values() for meaning in all_of_word)
    for word in sorted(meanings):
        if " " in word or not word.isalpha() or len(word) < 3:
            continue
        scores, names = collections.Counter(), collections.Counter()
        for meaning in meanings[word]:
            if not named.get(meaning, True):
                continue
            counts = [met[other.lower(), meaning] for other in words[meaning]]
            likely = (sum(counts) + 0.5) / sharing[meaning]
            for at, (other, count) in enumerate(zip(words[meaning], counts)):
                # Families of animals and the like are no words of offices.
                if meaning not in named and meaning[0] == "n" and other[0].isupper() and not sum(counts):
                    continue
                share = (count + 0.3 / (1 + at)) / (sum(counts) + 0.3 * len(counts))
                alike = difflib.SequenceMatcher(None, plain(word), plain(other)).ratio()
                of = names if meaning in named else scores
                of[other] += likely * share * (1 + 4 * max(0, alike - 0.5))
        for spelled, of in ((word, scores), (word.capitalize(), names)):
            best = max(of, key=lambda other: (of[other], other), default=spelled)
            if best != spelled:
                print(spelled, best, sep="\t")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
