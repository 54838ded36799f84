"""Small datasets in the layout of mini-MIAS: PGM files of 1024x1024 pixels and Info.txt with its notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 1024
NOTES = """INFORMATION:

This file lists the films in the MIAS database and provides
appropriate details as follows:
1st column: MIAS database reference number.
2nd column: Character of background tissue:

REFNUM BG CLASS SEVERITY X Y RADIUS
"""
LINES = """mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM
mdb004 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC B 500 168 26
mdb006 F NORM
mdb007 F CIRC B
mdb008 G CALC M *NOTE 3*
mdb009 F SPIC M 300 500 40
mdb009 F CALC M 400 600 20
mdb010 D ARCH B 600 512 80
""".splitlines()


def write_mini_mias(root: Path, lines: list[str] = LINES, films: str = "all-mias", notes: str = NOTES) -> Path:
    """Write the lines to Info.txt, and a film for each number in them.

    A film is dark except for a bright breast and, at the centre of each circle, a square of the value 255 whose side is
    the radius.
    """
    folder = root / films
    folder.mkdir(parents=True)
    # Carriage returns and trailing blanks occur in copies of the table.
    (root / "Info.txt").write_bytes("".join(f"{line} \r\n" for line in [*notes.splitlines(), *lines]).encode())
    circles: dict[str, list[list[float]]] = {}
    for line in lines:
        film, *words = line.split()
        numbers = [float(word) for word in words[3:6] if word.isdigit()]
        circles.setdefault(film, []).extend([numbers] if len(numbers) == 3 else [])
    for film, marked in circles.items():
        pixels = np.random.default_rng(int(film[3:])).integers(0, 20, (SIDE, SIDE)).astype(np.uint8)
        pixels[50:980, 100:900] += 120
        for x, y, radius in marked:
            half = int(radius) // 2
            row, column = SIDE - 1 - int(y), int(x)
            pixels[max(row - half, 0) : row + half, column - half : column + half] = 255
        (folder / f"{film}.pgm").write_bytes(f"P5\n{SIDE} {SIDE}\n255\n".encode() + pixels.tobytes())
    return root
