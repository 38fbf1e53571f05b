"""`python -m tests.words PATH...`: lists phrases to replace and sentences to split, and counts them.

Without a path, it reads the whole project, without the screens. `--counts` lists the counts only.
"""

import sys
from collections import Counter
from pathlib import Path

from tests.words import commands
from tests.words.files import pieces_of, readable
from tests.words.offences import Offence, offences
from tests.words.piece import Piece, shown


def main(words: list[str]) -> int:
    """Prints what it found. 1 where there is anything."""
    paths = [Path(word).resolve() for word in words if not word.startswith("-")]
    if missing := [str(path) for path in paths if not path.exists()]:
        print(f"no such path: {', '.join(missing)}")
        return 2
    files = list(readable(paths))
    sources = {shown(file) for file in files}
    pieces = [piece for file in files for piece in pieces_of(file)]
    pieces += [piece for piece in commands.pieces() if piece.source in sources]
    found = offences(pieces)
    if "--counts" not in words:
        print(*found, sep="\n")
    print(_counts(found, len(files), pieces))
    return int(bool(found))


def _counts(found: list[Offence], n_files: int, pieces: list[Piece]) -> str:
    by_say = Counter("split long sentences" if one.say.startswith("split it") else one.say for one in found)
    by_file = Counter(one.place.rpartition(":")[0] for one in found)
    lines = [f"{count:5} -> {say}" for say, count in by_say.most_common()]
    lines += [f"{count:5} in {file}" for file, count in by_file.most_common()]
    return "\n".join([*lines, f"{len(found)} in {len(by_file)} of {n_files} files, {len(pieces):,} texts and names"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
